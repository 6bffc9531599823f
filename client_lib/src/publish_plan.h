// Which chunks of a prompt to share, and how: decided from what was delivered from the cache.
//
//   computed                         published
//   delivered whole, computed here   nothing: the node has it
//   delivered whole, from elsewhere  linked to this context
//   a part delivered                 published whole, if the delivered rows are what a worker
//   computed: their k_r before
//                                    RoPE is at hand (any context: they are position-free, and
//                                    lineage says what they are), or they were computed right here.
//                                    Otherwise each computed part, by itself
//
// A part that was computed behind reused rows of its chunk has a context of its own (the chain goes
// over the parts); one that ends the chunk has the chunk's, so that whoever finds the next chunk
// finds it as the segment before.
//
// Thread   any; pure
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/object.h"
#include "cistern/client.h"
#include "client_lib/src/prompt.h"
#include "transport/wire/messages.h"

namespace cistern::client {

inline constexpr uint32_t kMinPartTokens = 16;  // of a computed part: a page

struct PublishInput {
  const Prompt& prompt;
  const Model& model;
  std::span<const Span> delivered;         // ascending
  TokenRange range;                        // chunks outside are left alone
  uint32_t approximate_from = UINT32_MAX;  // FetchResult's
  bool has_pre_rope = false;               // k_r before RoPE of what was computed is at hand
};

struct NewSegment {
  uint32_t begin = 0;
  uint32_t end = 0;
  base::Key content, parent_context, context;
  base::RotaryEncoding encoding = base::RotaryEncoding::kUnrotated;
  base::Lineage lineage = base::Lineage::kExact;
};

struct PublishPlan {
  std::vector<NewSegment> segments;
  std::vector<transport::LinkItem> links;
};

PublishPlan PlanPublish(const PublishInput& input);

}  // namespace cistern::client
