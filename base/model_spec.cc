#include "base/model_spec.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace cistern::base {
namespace {

using Json = nlohmann::json;  // objects are sorted by key, so that dump() is canonical

constexpr std::array<std::pair<RowLayout, absl::string_view>, 3> kLayouts = {{
    {RowLayout::kBf16_576, "bf16_576"},
    {RowLayout::kFp8DsMla656, "fp8_ds_mla_656"},
    {RowLayout::kOpaque, "opaque"},
}};
constexpr std::array<std::pair<RotaryStyle, absl::string_view>, 3> kStyles = {{
    {RotaryStyle::kInterleaved, "interleaved"},
    {RotaryStyle::kHalf, "half"},
    {RotaryStyle::kNone, "none"},
}};
constexpr std::array<std::pair<RotaryScaling, absl::string_view>, 3> kScalings = {{
    {RotaryScaling::kNone, "none"},
    {RotaryScaling::kLinear, "linear"},
    {RotaryScaling::kYarn, "yarn"},
}};

template <typename Table, typename Enum>
absl::string_view NameIn(const Table& table, Enum value) {
  for (const auto& [entry, name] : table) {
    if (entry == value) return name;
  }
  return "unknown";
}

template <typename Table>
auto ValueIn(const Table& table, absl::string_view what, absl::string_view text)
    -> absl::StatusOr<typename Table::value_type::first_type> {
  for (const auto& [entry, name] : table) {
    if (name == text) return entry;
  }
  return absl::InvalidArgumentError(absl::StrCat("model spec: unknown ", what, " '", text, "'"));
}

double YarnMscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The (fractional) pair index whose wave turns `rotations` times over the original context.
double CorrectionDim(const RotarySpec& spec, double rotations) {
  return spec.dim * std::log(spec.original_max_position / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(spec.theta));
}

bool PositiveFinite(double x) { return std::isfinite(x) && x > 0; }

absl::Status ValidateRotary(const RotarySpec& r) {
  if (r.style == RotaryStyle::kNone) return absl::OkStatus();
  if (!PositiveFinite(r.theta) || r.theta <= 1.0) {
    return absl::InvalidArgumentError("model spec: rotary.theta must be a number above 1");
  }
  if (!PositiveFinite(r.factor) || !PositiveFinite(r.original_max_position) ||
      !PositiveFinite(r.beta_fast) || !PositiveFinite(r.beta_slow) ||
      !PositiveFinite(r.attention_factor) || !std::isfinite(r.mscale) ||
      !std::isfinite(r.mscale_all_dim)) {
    return absl::InvalidArgumentError(
        "model spec: rotary scaling parameters must be positive finite numbers");
  }
  return absl::OkStatus();
}

Json RotaryToJson(const RotarySpec& r) {
  return Json{{"style", std::string(ToString(r.style))},
              {"dim", r.dim},
              {"theta", r.theta},
              {"scaling", std::string(ToString(r.scaling))},
              {"factor", r.factor},
              {"original_max_position", r.original_max_position},
              {"beta_fast", r.beta_fast},
              {"beta_slow", r.beta_slow},
              {"mscale", r.mscale},
              {"mscale_all_dim", r.mscale_all_dim},
              {"attention_factor", r.attention_factor}};
}

// Throws nlohmann's exceptions; FromJson is the edge that translates them.
absl::StatusOr<RotarySpec> RotaryFromJson(const Json& j) {
  RotarySpec r;
  CISTERN_ASSIGN_OR_RETURN(r.style,
                           ValueIn(kStyles, "rotary style", j.at("style").get<std::string>()));
  CISTERN_ASSIGN_OR_RETURN(
      r.scaling, ValueIn(kScalings, "rotary scaling", j.at("scaling").get<std::string>()));
  r.dim = j.at("dim").get<uint32_t>();
  r.theta = j.at("theta").get<double>();
  r.factor = j.at("factor").get<double>();
  r.original_max_position = j.at("original_max_position").get<double>();
  r.beta_fast = j.at("beta_fast").get<double>();
  r.beta_slow = j.at("beta_slow").get<double>();
  r.mscale = j.at("mscale").get<double>();
  r.mscale_all_dim = j.at("mscale_all_dim").get<double>();
  r.attention_factor = j.at("attention_factor").get<double>();
  return r;
}

// What the bytes depend on, and nothing else.
Json IdentityToJson(const ModelSpec& spec) {
  return Json{{"name", spec.name},
              {"revision", spec.revision},
              {"num_layers", spec.num_layers},
              {"layout", std::string(ToString(spec.layout))},
              {"row_bytes", spec.row_bytes},
              {"rotary", RotaryToJson(spec.rotary)}};
}

absl::StatusOr<ModelSpec> SpecFromJson(const Json& j) {
  ModelSpec spec;
  spec.name = j.at("name").get<std::string>();
  spec.revision = j.at("revision").get<std::string>();
  spec.num_layers = j.at("num_layers").get<uint32_t>();
  CISTERN_ASSIGN_OR_RETURN(spec.layout, ParseRowLayout(j.at("layout").get<std::string>()));
  spec.row_bytes = j.at("row_bytes").get<uint32_t>();
  CISTERN_ASSIGN_OR_RETURN(spec.rotary, RotaryFromJson(j.at("rotary")));
  spec.boundary_tokens = j.value("boundary_tokens", std::vector<TokenId>{});
  spec.flops_per_token = j.value("flops_per_token", uint64_t{0});
  spec.flops_per_token_pair = j.value("flops_per_token_pair", uint64_t{0});
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  return spec;
}

}  // namespace

uint32_t RowBytes(RowLayout layout) {
  switch (layout) {
    case RowLayout::kBf16_576:
      return 1152;
    case RowLayout::kFp8DsMla656:
      return 656;
    case RowLayout::kOpaque:
      return 0;
  }
  return 0;
}

absl::string_view ToString(RowLayout layout) { return NameIn(kLayouts, layout); }
absl::string_view ToString(RotaryStyle style) { return NameIn(kStyles, style); }
absl::string_view ToString(RotaryScaling scaling) { return NameIn(kScalings, scaling); }

absl::StatusOr<RowLayout> ParseRowLayout(absl::string_view text) {
  return ValueIn(kLayouts, "row layout", text);
}

std::vector<double> RotarySpec::InverseFrequencies() const {
  const uint32_t pairs = dim / 2;
  std::vector<double> inv_freq(pairs);
  for (uint32_t i = 0; i < pairs; ++i) inv_freq[i] = std::pow(theta, -2.0 * i / dim);
  if (scaling == RotaryScaling::kLinear) {
    for (double& f : inv_freq) f /= factor;
  }
  if (scaling == RotaryScaling::kYarn) {
    const double low = std::max(std::floor(CorrectionDim(*this, beta_fast)), 0.0);
    double high = std::min(std::ceil(CorrectionDim(*this, beta_slow)), dim - 1.0);
    if (low == high) high += 0.001;  // as the published code: no division by zero
    for (uint32_t i = 0; i < pairs; ++i) {
      const double interpolated = std::clamp((i - low) / (high - low), 0.0, 1.0);
      inv_freq[i] = inv_freq[i] / factor * interpolated + inv_freq[i] * (1.0 - interpolated);
    }
  }
  return inv_freq;
}

double RotarySpec::TableScale() const {
  if (scaling != RotaryScaling::kYarn) return attention_factor;
  return YarnMscale(factor, mscale) / YarnMscale(factor, mscale_all_dim) * attention_factor;
}

absl::Status ModelSpec::Validate() const {
  if (name.empty()) return absl::InvalidArgumentError("model spec: name is empty");
  if (num_layers == 0 || num_layers > kMaxLayers) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec: num_layers is ", num_layers, "; it must be 1 to ", kMaxLayers));
  }
  const uint32_t expected = RowBytes(layout);
  if (expected != 0 && row_bytes != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model spec: row_bytes is ", row_bytes, "; layout ", ToString(layout), " has ", expected));
  }
  if (row_bytes == 0 || row_bytes > kMaxRowBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec: row_bytes is ", row_bytes, "; it must be 1 to ", kMaxRowBytes));
  }
  if (layout != RowLayout::kOpaque && (rotary.dim != 64)) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: rotary.dim is ", rotary.dim,
                                                   "; layout ", ToString(layout), " has 64"));
  }
  return ValidateRotary(rotary);
}

std::string ModelSpec::ToJson() const {
  Json j = IdentityToJson(*this);
  j["boundary_tokens"] = boundary_tokens;
  j["flops_per_token"] = flops_per_token;
  j["flops_per_token_pair"] = flops_per_token_pair;
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<ModelSpec> ModelSpec::FromJson(absl::string_view json) {
  try {
    return SpecFromJson(Json::parse(json.begin(), json.end()));
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: ", e.what()));
  }
}

Key ModelSpec::Fingerprint() const {
  return HashBytes(
      absl::StrCat("cistern model 1\n",
                   IdentityToJson(*this).dump(-1, ' ', false, Json::error_handler_t::replace)));
}

}  // namespace cistern::base
