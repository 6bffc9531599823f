#include "storage/policy/recompute_cost.h"

namespace cistern::storage {
namespace {

constexpr double kNominalFlopsPerToken = 1e10;  // a model with 5 x 10^9 active parameters
constexpr double kNominalTokenBytes = 32 << 10;
constexpr double kDepthThatDoubles = 32768;  // attention costs as much as the rest from about here

double FlopsPerToken(const base::ModelSpec& spec) {
  return spec.flops_per_token == 0 ? kNominalFlopsPerToken
                                   : static_cast<double>(spec.flops_per_token);
}

// Of `tokens` tokens, the first of which has `depth` tokens before it.
double PrefillFlops(const base::ModelSpec& spec, double depth, double tokens) {
  const double pairs = tokens * depth + tokens * (tokens + 1) / 2;
  return tokens * FlopsPerToken(spec) + pairs * static_cast<double>(spec.flops_per_token_pair);
}

bool KnowsPairs(const base::ModelSpec& spec) {
  return spec.flops_per_token != 0 && spec.flops_per_token_pair != 0;
}

double StateFlops(const StoredHeader& header, const base::ModelSpec& spec) {
  const double before = static_cast<double>(header.base_position) + header.num_tokens();
  const double saved = KnowsPairs(spec)
                           ? PrefillFlops(spec, 0, before)
                           : before * FlopsPerToken(spec) * (1 + before / 2 / kDepthThatDoubles);
  if (header.kind() == base::ObjectKind::kCheckpoint || header.base_position == 0) return saved;
  const auto own = static_cast<double>(header.payload_bytes());
  return saved * own / (own + static_cast<double>(spec.state.checkpoint_bytes()));
}

}  // namespace

double RecomputeFlops(const StoredHeader& header) {
  const base::ModelSpec* spec = header.form()->spec;
  if (header.kind() == base::ObjectKind::kBlob || spec == nullptr) {
    return static_cast<double>(header.blob_bytes()) / kNominalTokenBytes * kNominalFlopsPerToken;
  }
  if (base::IsState(header.kind())) return StateFlops(header, *spec);
  const double tokens = header.num_tokens();
  const double depth = header.base_position;
  if (KnowsPairs(*spec)) return PrefillFlops(*spec, depth, tokens);
  return tokens * FlopsPerToken(*spec) * (1 + depth / kDepthThatDoubles);
}

}  // namespace cistern::storage
