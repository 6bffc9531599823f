#include "tools/bench/pools/policy.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/status_macros.h"
#include "tools/bench/pools/product_policy.h"
#include "tools/bench/pools/published_policies.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kPageBytes = 64 << 10;  // keys and values, 8 heads of 128, 2 bytes, 16 tokens
constexpr uint32_t kMaxBatch = 256;

absl::Status UnknownPolicy(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown policy '", text, "'; there are: padded, static R (0 < R < 1), avmp B (1 to ",
      kMaxBatch, "), shared, ours, ours+predictor"));
}

}  // namespace

PoolModel JambaPools() {
  return {.name = "jamba", .page_bytes = kPageBytes, .state_bytes = uint64_t{8192} * 16 * 2};
}
PoolModel Mamba2Pools() {
  return {.name = "mamba2", .page_bytes = kPageBytes, .state_bytes = uint64_t{8192} * 128 * 2};
}

Footprint FinalFootprint(const PoolRequest& request) {
  return {.pages = uint64_t{PoolModel::kAttentionLayers} * PagesFor(request.ticks()),
          .states = PoolModel::kStateLayers};
}

absl::StatusOr<PolicyName> ParsePolicyName(absl::string_view text) {
  PolicyName name{.text = std::string(text)};
  absl::string_view value = text;
  if (text == "padded") {
    name.kind = PolicyName::Kind::kPadded;
  } else if (text == "shared") {
    name.kind = PolicyName::Kind::kShared;
  } else if (text == "ours") {
    name.kind = PolicyName::Kind::kOurs;
  } else if (text == "ours+predictor") {
    name.kind = PolicyName::Kind::kOursPredicted;
  } else if (absl::ConsumePrefix(&value, "static ")) {
    name.kind = PolicyName::Kind::kStatic;
    if (!absl::SimpleAtod(value, &name.ratio) || !(name.ratio > 0 && name.ratio < 1))
      return UnknownPolicy(text);
  } else if (absl::ConsumePrefix(&value, "avmp ")) {
    name.kind = PolicyName::Kind::kAvmp;
    if (!absl::SimpleAtoi(value, &name.batch) || name.batch < 1 || name.batch > kMaxBatch)
      return UnknownPolicy(text);
  } else {
    return UnknownPolicy(text);
  }
  return name;
}

absl::StatusOr<std::unique_ptr<PoolPolicy>> MakePolicy(const PolicyName& name,
                                                       const PolicyOptions& options) {
  switch (name.kind) {
    case PolicyName::Kind::kPadded:
      return std::make_unique<PaddedPolicy>(options);
    case PolicyName::Kind::kStatic:
    case PolicyName::Kind::kAvmp:
      return std::make_unique<SplitPolicy>(options, name.ratio, name.batch);
    case PolicyName::Kind::kShared:
      return std::make_unique<SharedPolicy>(options);
    case PolicyName::Kind::kOurs:
    case PolicyName::Kind::kOursPredicted:
      break;
  }
  CISTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<ProductPolicy> ours,
      ProductPolicy::Create(options, name.kind == PolicyName::Kind::kOursPredicted));
  return ours;
}

}  // namespace cistern::tools
