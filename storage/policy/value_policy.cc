#include "storage/policy/value_policy.h"

#include <algorithm>

namespace cistern::storage {
namespace {

constexpr double kNominalFlopsPerToken = 1e10;  // a model with 5 x 10^9 active parameters
constexpr double kNominalTokenBytes = 32 << 10;
constexpr double kDepthThatDoubles = 32768;  // attention costs as much as the rest from about here

}  // namespace

double RecomputeFlops(const base::ObjectHeader& header, const base::ModelSpec* spec) {
  if (header.kind == base::ObjectKind::kBlob || spec == nullptr) {
    return static_cast<double>(header.blob_bytes) / kNominalTokenBytes * kNominalFlopsPerToken;
  }
  const double tokens = header.num_tokens();
  const double depth = header.base_position;
  const double per_token = spec->flops_per_token == 0 ? kNominalFlopsPerToken
                                                      : static_cast<double>(spec->flops_per_token);
  if (spec->flops_per_token == 0 || spec->flops_per_token_pair == 0) {
    return tokens * per_token * (1 + depth / kDepthThatDoubles);
  }
  const double pairs = tokens * depth + tokens * (tokens + 1) / 2;
  return tokens * per_token + pairs * static_cast<double>(spec->flops_per_token_pair);
}

uint64_t ValuePolicy::Density(const base::ObjectHeader& header, const base::ModelSpec* spec,
                              uint64_t bytes) {
  const double density =
      RecomputeFlops(header, spec) / static_cast<double>(std::max<uint64_t>(bytes, 1));
  return static_cast<uint64_t>(std::clamp(density, 1.0, static_cast<double>(kMaxDensity)));
}

uint64_t ValuePolicy::Priority(uint64_t density, uint32_t frequency) const {
  const uint64_t credit = density * std::clamp(frequency, 1u, kMaxFrequency);
  return std::min(inflation_ + credit, kMaxPriority);
}

void ValuePolicy::OnEvict(uint64_t priority) { inflation_ = std::max(inflation_, priority); }

}  // namespace cistern::storage
