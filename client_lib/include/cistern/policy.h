// What a caller is willing to take from the cache.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace cistern {

enum class Reuse : uint8_t {
  kNone = 0,     // plan nothing; everything is computed (for comparison)
  kExact = 1,    // only rows that were computed behind the very same tokens: lossless
  kContent = 2,  // also rows of the same text elsewhere, moved to their new position: an
                 // approximation in deeper layers. Of a hybrid model the same as kExact: its state
                 // depends on the whole past
};

struct PlanPolicy {
  Reuse reuse = Reuse::kExact;

  // Tokens at the head of each content span that are computed afresh: 0 = Irminsul (arXiv
  // 2605.05696), k = EPIC's LegoLink (arXiv 2410.15332).
  uint32_t recompute_head = 0;

  // The first tokens of a sequence are an attention sink: no row before this position comes by
  // content, and no row that was computed before it goes elsewhere. The rest of a chunk that begins
  // in the sink may come by content.
  uint32_t sink_tokens = 32;

  // Runs of reused tokens shorter than this are computed instead (after recompute_head was taken
  // off). A run of content within a longer reused run counts by itself: it makes all that follows
  // approximate.
  uint32_t min_span_tokens = 16;

  // Reuse parts of segments whose beginning or end is shared with a chunk that was not found as a
  // whole.
  bool partial_segments = true;

  // The prompt's last token is always computed, because the worker needs its output.
  bool compute_last_token = true;

  // Planning that takes longer answers "compute everything".
  absl::Duration deadline = absl::Milliseconds(500);
};

// When fetching is faster than computing. Rates are measured by the client as it runs; zero =
// unknown, then all is fetched.
struct CostModel {
  double fetch_bytes_per_second = 0;
  double disk_bytes_per_second = 0;
  double prefill_tokens_per_second = 0;  // the caller's own, for its model at hand

  // Whether `tokens` of `token_bytes` each should be fetched.
  bool WorthFetching(uint64_t tokens, uint64_t token_bytes, bool on_disk) const;
};

}  // namespace cistern
