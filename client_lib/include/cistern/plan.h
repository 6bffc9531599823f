// What the client will do for a prompt: spans in order, without gaps, each reused or computed.
//
// A plan holds leases on what lies in memory at the node. Fetch uses them up; a plan that is
// dropped gives them back.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/object.h"

namespace cistern {

enum class SpanKind : uint8_t {
  kExact = 0,    // rows computed behind the same tokens
  kContent = 1,  // the same text from elsewhere, moved
  kCompute = 2,  // nothing usable: the worker computes it
};

struct Span {
  uint32_t begin = 0;  // token positions in the prompt, [begin, end)
  uint32_t end = 0;
  SpanKind kind = SpanKind::kCompute;
  // Exact rows may still carry an approximate past (a reused-by-content span before them);
  // `lossless` says that they do not.
  bool lossless = true;
  bool on_disk = false;      // the node must stage it first
  uint32_t object = 0;       // index into the plan's objects
  uint32_t first_token = 0;  // of the object, at `begin`: not 0 when part of a segment is reused
  uint64_t object_id = 0;    // the node's name for it
  uint32_t source_position = 0;  // where the row that goes to `begin` was computed
  base::RotaryEncoding encoding = base::RotaryEncoding::kUnrotated;  // of the stored rows
  uint32_t object_tokens = 0;                                        // of the whole object
  base::Key content;                                                 // of the whole object
  // Computed in this very context, and by this worker's rotary arithmetic or before any: the bytes
  // are what the worker would have computed, and may be shared again. Not so what was moved or
  // linked.
  bool native = false;
  bool pre_rope = false;  // Fetch delivered k_r before RoPE beside it (FetchOptions::pre_rope)
};

struct PlanStats {
  uint64_t exact_tokens = 0;
  uint64_t lossless_tokens = 0;  // of exact_tokens
  uint64_t content_tokens = 0;
  uint64_t compute_tokens = 0;
  uint64_t chunks = 0;
  uint64_t token_mismatches = 0;  // a key with other tokens behind it: a miss
  uint64_t left_out_tokens = 0;   // found, but faster to compute, or in too short a run
  // The node did not answer within the plan's deadline: nothing is known, so all is computed.
  bool timed_out = false;
};

// Where a hybrid model goes on: the deepest token up to which rows are reused exactly and behind
// which the state is known.
struct Resume {
  uint32_t position = 0;  // 0: from the beginning, with zero state
  // What it is made of: a checkpoint (0: zero state), and the tokens since that are folded locally.
  uint32_t checkpoint_position = 0;
  uint32_t folded_tokens = 0;
  uint64_t checkpoint_bytes = 0;  // to be fetched
  uint64_t log_bytes = 0;
  bool on_disk = false;  // some of it must be staged first
};

class PlanImpl;

class Plan {
 public:
  Plan();
  ~Plan();
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  const std::vector<Span>& spans() const;
  const PlanStats& stats() const;
  uint32_t num_tokens() const;
  // Of a model with recurrent layers: all spans but the last end at or before resume().position,
  // and the last one computes the rest.
  const Resume& resume() const;
  // Where a state would serve later prompts, within what is computed: the point up to which rows
  // were found and no state was. Another prompt left the stored path there, so others will. The end
  // of the call, which the plan does not know, is not among them.
  const std::vector<uint32_t>& wanted_states() const;

  PlanImpl* impl() const { return impl_.get(); }  // for the library itself

 private:
  friend class PlanImpl;
  explicit Plan(std::unique_ptr<PlanImpl> impl);
  std::unique_ptr<PlanImpl> impl_;
};

}  // namespace cistern
