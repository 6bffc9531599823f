#include "storage/policy/recompute_cost.h"

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

}  // namespace cistern::storage
