#include <algorithm>
#include <random>

#include "tools/bench/evict/block_names.h"
#include "tools/bench/evict/block_trace.h"

namespace cistern::tools {
namespace {

constexpr size_t kRequests = 4000;
constexpr size_t kOpen = 200;  // conversations at a time
constexpr uint64_t kBeginnings = 4;

struct Conversation {
  std::vector<uint64_t> hashes;  // full blocks so far
  uint32_t turns_left = 0;
};

// Only std::mt19937_64 itself is the same everywhere; the library's distributions are not.
class Draw {
 public:
  uint64_t Below(uint64_t n) { return random_() % n; }

 private:
  std::mt19937_64 random_{1};
};

Conversation Begin(Draw& draw) {
  Conversation conversation;
  const uint64_t beginning = draw.Below(kBeginnings);
  for (uint64_t i = 0; i < 2 + beginning; ++i) {
    conversation.hashes.push_back(beginning * 100 + i);
  }
  conversation.turns_left =
      draw.Below(10) < 4 ? 1 : static_cast<uint32_t>(2 + draw.Below(8) * draw.Below(2));
  return conversation;
}

}  // namespace

BlockTrace SyntheticBlockTrace() {
  BlockTrace trace;
  BlockNames names;
  Draw draw;
  uint64_t fresh = 1000;
  std::vector<Conversation> open;
  open.reserve(kOpen);
  while (open.size() < kOpen) open.push_back(Begin(draw));
  while (trace.requests.size() < kRequests) {
    // The product of two draws: a few conversations are quick, many are slow.
    Conversation& conversation = open[draw.Below(1 + draw.Below(kOpen))];
    const uint64_t new_blocks = 1 + draw.Below(12) * draw.Below(4);
    for (uint64_t i = 0; i < new_blocks; ++i) conversation.hashes.push_back(fresh++);
    BlockRequest request;
    std::optional<uint32_t> parent;
    request.blocks.reserve(conversation.hashes.size() + 1);
    for (const uint64_t hash : conversation.hashes) {
      parent = names.Number(parent, hash);
      request.blocks.push_back(*parent);
    }
    request.blocks.push_back(
        names.Number(parent, fresh++));  // part full: the next turn has another
    request.input_tokens = static_cast<uint32_t>(conversation.hashes.size() * kTraceBlockTokens +
                                                 1 + draw.Below(kTraceBlockTokens));
    trace.requests.push_back(std::move(request));
    if (--conversation.turns_left == 0) conversation = Begin(draw);
  }
  trace.num_blocks = names.count();
  return trace;
}

}  // namespace cistern::tools
