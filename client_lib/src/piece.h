// A stretch of a prompt whose tokens a stored segment has too, token by token: what a plan is made
// of.
#pragma once

#include <cstdint>
#include <vector>

#include "base/object.h"
#include "client_lib/src/prompt.h"
#include "transport/wire/messages.h"

namespace cistern::client {

// From worst to best: what the rows know of their past.
enum class Quality : uint8_t {
  kContent = 0,   // another context
  kLinked = 1,    // another context, but used in this one before
  kOwn = 2,       // computed in this context, which held approximate rows
  kLossless = 3,  // computed in this context, all of it computed
};

struct Piece {
  uint32_t begin = 0;  // token positions in the prompt, [begin, end)
  uint32_t end = 0;
  uint32_t object = 0;       // index into FindReply::objects
  uint32_t first_token = 0;  // of the object, at `begin`
  Quality quality = Quality::kContent;

  uint32_t num_tokens() const { return end - begin; }
  // Not computed at this place: its rows have been or will be moved.
  bool moved() const { return quality <= Quality::kLinked; }
  bool lossless() const { return quality == Quality::kLossless; }

  void CutHead(uint32_t tokens) {
    begin += tokens;
    first_token += tokens;
  }
};

// Ascending and without overlap.
using Pieces = std::vector<Piece>;

}  // namespace cistern::client
