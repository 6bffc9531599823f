#include "tools/bench/pools/synthetic_workload.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/pools/numpy_random.h"

namespace cistern::tools {
namespace {

constexpr absl::string_view kSynthetic[] = {"uniform_short", "mixed_long", "agentic_burst"};

using Requests = std::vector<PoolRequest>;

// Every property is drawn for all requests before the next one is: the order is part of the
// definition. Ranges are [low, high).
void DrawAnswers(uint64_t low, uint64_t high, NumpyRandom& random, Requests& requests) {
  for (PoolRequest& r : requests) r.generated = static_cast<uint32_t>(random.Integer(low, high));
}

Requests OneATick(size_t count) {
  Requests requests(count);
  for (size_t i = 0; i < count; ++i) requests[i].arrival = i;
  return requests;
}

Requests UniformShort(uint32_t replicate) {
  NumpyRandom random(1 + replicate);
  Requests requests = OneATick(512);
  for (PoolRequest& r : requests) r.prompt = static_cast<uint32_t>(random.Integer(128, 1025));
  DrawAnswers(64, 257, random, requests);
  return requests;
}

Requests MixedLong(uint32_t replicate) {
  NumpyRandom random(2 + replicate);
  Requests requests = OneATick(256);
  std::vector<bool> is_long(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) is_long[i] = random.Uniform() < 0.2;
  for (PoolRequest& r : requests) r.prompt = static_cast<uint32_t>(random.Integer(512, 4097));
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto prompt = static_cast<uint32_t>(random.Integer(16384, 65537));
    if (is_long[i]) requests[i].prompt = prompt;
  }
  DrawAnswers(128, 513, random, requests);
  return requests;
}

Requests AgenticBurst(uint32_t replicate) {
  NumpyRandom random(3 + replicate);
  Requests requests(256);
  double time = 0;
  for (PoolRequest& r : requests) {
    time += 0.1 * random.Exponential();
    r.arrival = static_cast<uint64_t>(std::ceil(time));
  }
  for (PoolRequest& r : requests) {
    const double tokens = std::exp(8.5 + 1.0 * random.Normal());
    r.prompt = static_cast<uint32_t>(std::clamp(std::trunc(tokens), 64.0, 65536.0));
  }
  DrawAnswers(64, 257, random, requests);
  return requests;
}

}  // namespace

absl::StatusOr<PoolWorkload> MakeSyntheticWorkload(absl::string_view name, uint32_t replicate) {
  PoolWorkload workload{.name = std::string(name), .replicate = replicate};
  if (name == "uniform_short") {
    workload.requests = UniformShort(replicate);
  } else if (name == "mixed_long") {
    workload.requests = MixedLong(replicate);
  } else if (name == "agentic_burst") {
    workload.requests = AgenticBurst(replicate);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("no synthetic workload is called '", name, "'"));
  }
  return workload;
}

absl::StatusOr<std::vector<PoolWorkload>> PaperWorkloads(const std::string& directory) {
  std::vector<PoolWorkload> workloads;
  workloads.reserve((std::size(kSynthetic) + 1) * kPoolReplicates);
  for (const absl::string_view name : kSynthetic) {
    for (uint32_t replicate = 0; replicate < kPoolReplicates; ++replicate) {
      absl::StatusOr<PoolWorkload> workload = absl::NotFoundError("no folder");
      if (!directory.empty()) workload = LoadPoolWorkload(directory, name, replicate);
      if (absl::IsNotFound(workload.status())) workload = MakeSyntheticWorkload(name, replicate);
      if (!workload.ok()) return workload.status();
      workloads.push_back(*std::move(workload));
    }
  }
  for (uint32_t replicate = 0; replicate < kPoolReplicates && !directory.empty(); ++replicate) {
    CISTERN_ASSIGN_OR_RETURN(PoolWorkload workload,
                             LoadPoolWorkload(directory, kShareGptReplay, replicate));
    workloads.push_back(std::move(workload));
  }
  return workloads;
}

}  // namespace cistern::tools
