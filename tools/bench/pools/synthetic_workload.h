// The paper's three synthetic workloads, drawn as its generators draw them.
//
//   uniform_short   512 requests, one a tick: prompts of 128 to 1024 tokens, answers of 64 to 256
//   mixed_long      256, one a tick: a fifth of the prompts 16 Ki to 64 Ki tokens, the rest 512 to
//                   4096; answers of 128 to 512
//   agentic_burst   256, ten a tick: log-normal prompts of 64 to 65536 tokens (median 4915),
//   answers
//                   of 64 to 256
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/pools/workload.h"

namespace cistern::tools {

// InvalidArgument: no such workload.
absl::StatusOr<PoolWorkload> MakeSyntheticWorkload(absl::string_view name, uint32_t replicate);

// Every workload of the paper, every replicate: read from `directory`; a synthetic one that has no
// file there is drawn. sharegpt_replay draws from recorded conversations and needs its files: with
// an empty `directory` it is left out. Errors are LoadPoolWorkload's.
absl::StatusOr<std::vector<PoolWorkload>> PaperWorkloads(const std::string& directory);

}  // namespace cistern::tools
