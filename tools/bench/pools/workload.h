// Requests with their arrivals, as the AVMP paper's benchmark defines them.
//
// A workload is a name and a replicate (0, 1, 2). Times are virtual ticks: a request that is served
// at once arrives at `arrival` and departs `prompt + generated` ticks later.
//
// Files    DIR/<name>_<replicate>.csv, one header line, then
//          request,arrival_tick,prompt_tokens,generated_tokens with requests numbered from 0 and
//          arrivals that never go back
// Source   An Xuan Nguyen, arXiv 2605.22416
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::tools {

struct PoolRequest {
  uint64_t arrival = 0;    // tick
  uint32_t prompt = 0;     // tokens
  uint32_t generated = 0;  // tokens

  uint64_t ticks() const { return uint64_t{prompt} + generated; }
  friend bool operator==(const PoolRequest&, const PoolRequest&) = default;
};

struct PoolWorkload {
  std::string name;
  uint32_t replicate = 0;
  std::vector<PoolRequest> requests;  // by arrival
};

inline constexpr uint32_t kPoolReplicates = 3;
inline constexpr absl::string_view kShareGptReplay = "sharegpt_replay";

// InvalidArgument names the line that cannot be read; `source` is what the message calls the file.
absl::StatusOr<std::vector<PoolRequest>> ParsePoolRequests(absl::string_view source,
                                                           absl::string_view csv);

// NotFound: no such file.
absl::StatusOr<PoolWorkload> LoadPoolWorkload(const std::string& directory, absl::string_view name,
                                              uint32_t replicate);

}  // namespace cistern::tools
