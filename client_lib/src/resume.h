// Where a hybrid model goes on: the deepest token behind which its state can be made from what the
// node has, no deeper than its rows reach.
//
// A checkpoint counts when its tokens are the prompt's from a chunk's beginning on, in the same
// context; a log when it continues a state that counts, token by token. Logs with tails at every
// token (and of models without a convolution) can be left anywhere, others behind their last token
// only.
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <vector>

#include "client_lib/src/model_book.h"
#include "client_lib/src/prompt.h"
#include "transport/wire/messages.h"

namespace cistern::client {

// The context at a token boundary: what a state there is known by. A chunk that is cut there, and
// one that goes on, give the same.
base::Key ContextAt(const Prompt& prompt, const Model& model, uint32_t position);

// The chunk that the token before `position` lies in; position is not 0.
const Chunk& ChunkBefore(const Prompt& prompt, uint32_t position);

struct StateStep {
  uint32_t object = 0;  // index into FindReply::objects
  uint32_t tokens = 0;  // of a log: so many of its first ones; 0: a checkpoint
};

struct ResumePoint {
  uint32_t position = 0;  // 0: none
  uint32_t checkpoint_position = 0;
  std::vector<StateStep> steps;  // the checkpoint, if there is one, then logs in order
};

// The deepest at most at `limit`; of equal ones the one that takes the fewest bytes.
ResumePoint FindResume(const Prompt& prompt, const Model& model, const transport::FindReply& reply,
                       uint32_t limit);

}  // namespace cistern::client
