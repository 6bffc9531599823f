#include "base/state_spec.h"

#include <array>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr uint64_t kBf16Bytes = 2;
constexpr uint64_t kFloatBytes = 4;

constexpr std::array<std::pair<StateFamily, absl::string_view>, 7> kFamilies = {{
    {StateFamily::kNone, "none"},
    {StateFamily::kMamba1, "mamba1"},
    {StateFamily::kMamba2, "mamba2"},
    {StateFamily::kLightning, "lightning"},
    {StateFamily::kGatedLinear, "gated_linear"},
    {StateFamily::kGatedDelta, "gated_delta"},
    {StateFamily::kKda, "kda"},
}};

absl::Status CheckStateRange(absl::string_view field, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model spec: state.", field, " is ", value, "; it must be ", low, " to ", high));
}

struct StateFields {
  std::array<uint64_t, 4> bytes = {};
  uint32_t count = 0;
};

StateFields StateFieldsOf(const StateSpec& spec) {
  const uint64_t keys = uint64_t{spec.num_key_heads} * spec.key_dim * kBf16Bytes;
  const uint64_t values = uint64_t{spec.num_heads} * spec.value_dim * kBf16Bytes;
  const uint64_t a_head = spec.num_heads * kFloatBytes;
  const uint64_t a_channel = uint64_t{spec.num_heads} * spec.key_dim * kFloatBytes;
  switch (spec.family) {
    case StateFamily::kNone:
      return {};
    case StateFamily::kMamba1:
      return {.bytes = {values, values, keys}, .count = 3};
    case StateFamily::kMamba2:
      return {.bytes = {values, keys, a_head}, .count = 3};
    case StateFamily::kLightning:
      return {.bytes = {keys, values}, .count = 2};
    case StateFamily::kGatedLinear:
      return {.bytes = {keys, values, a_channel}, .count = 3};
    case StateFamily::kGatedDelta:
      return {.bytes = {keys, values, a_head, a_head}, .count = 4};
    case StateFamily::kKda:
      return {.bytes = {keys, values, a_channel, a_head}, .count = 4};
  }
  return {};
}

}  // namespace

uint64_t StateSpec::temporal_bytes() const {
  const uint64_t element = temporal_type == StateType::kBf16 ? kBf16Bytes : kFloatBytes;
  return uint64_t{num_heads} * value_dim * key_dim * element;
}

std::vector<uint64_t> StateSpec::field_bytes() const {
  const StateFields all = StateFieldsOf(*this);
  return {all.bytes.begin(), all.bytes.begin() + all.count};
}

uint64_t StateSpec::input_bytes() const {
  const StateFields all = StateFieldsOf(*this);
  return std::accumulate(all.bytes.begin(), all.bytes.end(), uint64_t{0});
}

uint64_t StateSpec::log_token_bytes(LogTails tails) const {
  const uint64_t row = tails == LogTails::kEveryToken ? conv_row_bytes() : 0;
  return num_layers * (input_bytes() + row);
}

uint64_t StateSpec::log_bytes(uint32_t tokens, LogTails tails) const {
  const uint64_t tail = tails == LogTails::kEnd ? num_layers * conv_bytes() : 0;
  return tokens * log_token_bytes(tails) + tail;
}

uint32_t StateSpec::BreakEvenTokens() const {
  const uint64_t inputs = input_bytes();
  return inputs == 0 ? 0 : static_cast<uint32_t>(temporal_bytes() / inputs);
}

absl::Status StateSpec::Validate() const {
  if (family == StateFamily::kNone) {
    if (*this == StateSpec()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "model spec: state.family is none, but state has sizes; name the family");
  }
  if (ToString(family) == "unknown" || temporal_type > StateType::kBf16) {
    return absl::InvalidArgumentError("model spec: unknown state.family or state.temporal_type");
  }
  CISTERN_RETURN_IF_ERROR(CheckStateRange("num_layers", num_layers, 1, kMaxLayers));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("num_heads", num_heads, 1, kMaxHeads));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("num_key_heads", num_key_heads, 1, num_heads));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("key_dim", key_dim, 1, kMaxDim));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("value_dim", value_dim, 1, kMaxDim));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("conv_width", conv_width, 0, kMaxConvWidth));
  CISTERN_RETURN_IF_ERROR(CheckStateRange("conv_channels", conv_channels, 0, 1u << 20));
  if (num_heads % num_key_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: state.num_key_heads is ",
                                                   num_key_heads, "; it must divide num_heads, ",
                                                   num_heads));
  }
  if ((conv_width == 0) != (conv_channels == 0)) {
    return absl::InvalidArgumentError(
        "model spec: state.conv_width and state.conv_channels: both, or neither");
  }
  return CheckStateRange("layer_bytes", layer_bytes(), 1, kMaxLayerBytes);
}

absl::string_view ToString(StateFamily family) {
  for (const auto& [entry, name] : kFamilies) {
    if (entry == family) return name;
  }
  return "unknown";
}

absl::StatusOr<StateFamily> ParseStateFamily(absl::string_view text) {
  for (const auto& [entry, name] : kFamilies) {
    if (name == text) return entry;
  }
  return absl::InvalidArgumentError(absl::StrCat("model spec: unknown state.family '", text, "'"));
}

absl::string_view ToString(StateType type) { return type == StateType::kBf16 ? "bf16" : "float32"; }

absl::StatusOr<StateType> ParseStateType(absl::string_view text) {
  if (text == "float32") return StateType::kFloat32;
  if (text == "bf16") return StateType::kBf16;
  return absl::InvalidArgumentError(
      absl::StrCat("model spec: unknown state.temporal_type '", text, "'"));
}

absl::string_view ToString(LogTails tails) {
  return tails == LogTails::kEveryToken ? "every_token" : "end";
}

}  // namespace cistern::base
