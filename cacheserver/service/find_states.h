// Which states lie on the way of a prompt: the walk behind FindReply::states.
//
//   deepest known context ─► ... ─► start     at each the checkpoints that begin there
//   checkpoint ─► its logs ─► their logs      each behind the state that it needs
//   zero state ─► its logs                    last
//
// Thread   the caller's, under the store's lock
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/key.h"
#include "base/object.h"
#include "storage/store.h"

namespace cistern::cacheserver {

// The deepest checkpoint is the one that saves most. What is wanted of those behind it: a state
// where the rows are, when they end before the deepest; a second choice, when that is too dear to
// fetch. A conversation leaves one checkpoint or two a turn.
inline constexpr size_t kMaxFoundCheckpoints = 8;
// Of those that begin where nothing more is known of the prompt: their tokens cannot be compared
// here, so other prompts' would crowd out what is known to fit.
inline constexpr size_t kMaxUnknownCheckpoints = 4;
// A chain is folded into a checkpoint long before (client_lib, StatePolicy); this bounds what
// somebody else's chains make a look-up cost.
inline constexpr size_t kMaxFoundLogs = 256;
// Of those that begin where nothing more is known of the prompt.
inline constexpr size_t kMaxUnknownLogs = 16;
// Checkpoints, and logs, that are looked at, all contexts together.
inline constexpr size_t kMaxComparedCheckpoints = 1024;
inline constexpr size_t kMaxComparedLogs = 2048;

// One chunk of the prompt, found exactly.
struct KnownChunk {
  base::Key context;
  std::span<const base::TokenId> tokens;
};

// In FindReply::states' order. `chunks`: from `start_context` on, without a gap. Checkpoints and
// logs whose tokens differ from what is known of the prompt are left out.
std::vector<storage::ObjectId> StatesOnTheWay(const storage::Store& store, const base::Key& model,
                                              const base::Key& start_context,
                                              const std::vector<KnownChunk>& chunks);

}  // namespace cistern::cacheserver
