#include "base/model_spec.h"

#include <array>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/json_fields.h"
#include "base/status_macros.h"

namespace cistern::base {
namespace {

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

constexpr absl::string_view kUnknown = "unknown";
constexpr uint32_t kMaxUint32 = std::numeric_limits<uint32_t>::max();

template <typename Table, typename Enum>
absl::string_view NameIn(const Table& table, Enum value) {
  for (const auto& [entry, name] : table) {
    if (entry == value) return name;
  }
  return kUnknown;
}

template <typename Table>
auto ValueIn(const Table& table, absl::string_view what, absl::string_view text)
    -> absl::StatusOr<typename Table::value_type::first_type> {
  for (const auto& [entry, name] : table) {
    if (name == text) return entry;
  }
  return absl::InvalidArgumentError(absl::StrCat("model spec: unknown ", what, " '", text, "'"));
}

absl::StatusOr<uint32_t> Uint32(const JsonObject& j, absl::string_view name) {
  CISTERN_ASSIGN_OR_RETURN(const uint64_t value, j.Uint(name, kMaxUint32));
  return static_cast<uint32_t>(value);
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
              {"mscale", r.mscale + 0.0},  // no negative zero: equal specs, equal text
              {"mscale_all_dim", r.mscale_all_dim + 0.0},
              {"attention_factor", r.attention_factor}};
}

absl::StatusOr<RotarySpec> RotaryFromJson(const JsonObject& j) {
  RotarySpec r;
  CISTERN_ASSIGN_OR_RETURN(const std::string style, j.String("style"));
  CISTERN_ASSIGN_OR_RETURN(r.style, ValueIn(kStyles, "rotary style", style));
  CISTERN_ASSIGN_OR_RETURN(const std::string scaling, j.String("scaling"));
  CISTERN_ASSIGN_OR_RETURN(r.scaling, ValueIn(kScalings, "rotary scaling", scaling));
  CISTERN_ASSIGN_OR_RETURN(r.dim, Uint32(j, "dim"));
  CISTERN_ASSIGN_OR_RETURN(r.theta, j.Number("theta"));
  CISTERN_ASSIGN_OR_RETURN(r.factor, j.Number("factor"));
  CISTERN_ASSIGN_OR_RETURN(r.original_max_position, j.Number("original_max_position"));
  CISTERN_ASSIGN_OR_RETURN(r.beta_fast, j.Number("beta_fast"));
  CISTERN_ASSIGN_OR_RETURN(r.beta_slow, j.Number("beta_slow"));
  CISTERN_ASSIGN_OR_RETURN(r.mscale, j.Number("mscale"));
  CISTERN_ASSIGN_OR_RETURN(r.mscale_all_dim, j.Number("mscale_all_dim"));
  CISTERN_ASSIGN_OR_RETURN(r.attention_factor, j.Number("attention_factor"));
  return r;
}

Json StateToJson(const StateSpec& s) {
  return Json{{"family", std::string(ToString(s.family))},
              {"num_layers", s.num_layers},
              {"num_heads", s.num_heads},
              {"num_key_heads", s.num_key_heads},
              {"key_dim", s.key_dim},
              {"value_dim", s.value_dim},
              {"conv_width", s.conv_width},
              {"conv_channels", s.conv_channels},
              {"temporal_type", std::string(ToString(s.temporal_type))}};
}

absl::StatusOr<StateSpec> StateFromJson(const JsonObject& j) {
  StateSpec s;
  CISTERN_ASSIGN_OR_RETURN(const std::string family, j.String("family"));
  CISTERN_ASSIGN_OR_RETURN(s.family, ParseStateFamily(family));
  CISTERN_ASSIGN_OR_RETURN(s.num_layers, Uint32(j, "num_layers"));
  CISTERN_ASSIGN_OR_RETURN(s.num_heads, Uint32(j, "num_heads"));
  CISTERN_ASSIGN_OR_RETURN(s.num_key_heads, Uint32(j, "num_key_heads"));
  CISTERN_ASSIGN_OR_RETURN(s.key_dim, Uint32(j, "key_dim"));
  CISTERN_ASSIGN_OR_RETURN(s.value_dim, Uint32(j, "value_dim"));
  CISTERN_ASSIGN_OR_RETURN(s.conv_width, Uint32(j, "conv_width"));
  CISTERN_ASSIGN_OR_RETURN(s.conv_channels, Uint32(j, "conv_channels"));
  CISTERN_ASSIGN_OR_RETURN(const std::string type, j.String("temporal_type"));
  CISTERN_ASSIGN_OR_RETURN(s.temporal_type, ParseStateType(type));
  return s;
}

// What the bytes depend on, and nothing else. A model without recurrent layers has no "state".
Json IdentityToJson(const ModelSpec& spec) {
  Json j{{"name", spec.name},
         {"revision", spec.revision},
         {"num_layers", spec.num_layers},
         {"layout", std::string(ToString(spec.layout))},
         {"row_bytes", spec.row_bytes},
         {"rotary", RotaryToJson(spec.rotary)}};
  if (spec.state.present()) j["state"] = StateToJson(spec.state);
  return j;
}

absl::StatusOr<ModelSpec> SpecFromJson(const JsonObject& j) {
  constexpr uint64_t kMaxUint64 = std::numeric_limits<uint64_t>::max();
  ModelSpec spec;
  CISTERN_ASSIGN_OR_RETURN(spec.name, j.String("name"));
  CISTERN_ASSIGN_OR_RETURN(spec.revision, j.String("revision"));
  CISTERN_ASSIGN_OR_RETURN(spec.num_layers, Uint32(j, "num_layers"));
  CISTERN_ASSIGN_OR_RETURN(const std::string layout, j.String("layout"));
  CISTERN_ASSIGN_OR_RETURN(spec.layout, ParseRowLayout(layout));
  CISTERN_ASSIGN_OR_RETURN(spec.row_bytes, Uint32(j, "row_bytes"));
  CISTERN_ASSIGN_OR_RETURN(const JsonObject rotary, j.Object("rotary"));
  CISTERN_ASSIGN_OR_RETURN(spec.rotary, RotaryFromJson(rotary));
  if (j.Has("state")) {
    CISTERN_ASSIGN_OR_RETURN(const JsonObject state, j.Object("state"));
    CISTERN_ASSIGN_OR_RETURN(spec.state, StateFromJson(state));
  }
  CISTERN_ASSIGN_OR_RETURN(spec.boundary_tokens,
                           j.UintsOr("boundary_tokens", ModelSpec::kMaxBoundaryTokens, kMaxUint32));
  CISTERN_ASSIGN_OR_RETURN(spec.flops_per_token, j.UintOr("flops_per_token", kMaxUint64, 0));
  CISTERN_ASSIGN_OR_RETURN(spec.flops_per_token_pair,
                           j.UintOr("flops_per_token_pair", kMaxUint64, 0));
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  return spec;
}

// Text that JSON carries unchanged; a byte that it would have to replace would make two names one.
bool IsPlainText(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  try {
    [[maybe_unused]] const std::string dumped = Json(std::string(text)).dump();
    return true;
  } catch (const Json::exception&) {
    return false;  // not UTF-8
  }
}

absl::Status ValidateText(absl::string_view field, absl::string_view text) {
  if (text.size() > ModelSpec::kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: ", field, " has ", text.size(),
                                                   " bytes; at most ", ModelSpec::kMaxTextBytes));
  }
  if (!IsPlainText(text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec: ", field, " must be UTF-8 text without control characters"));
  }
  return absl::OkStatus();
}

absl::Status ValidateRow(const ModelSpec& spec) {
  if (ToString(spec.layout) == kUnknown) {
    return absl::InvalidArgumentError("model spec: unknown row layout");
  }
  const uint32_t expected = RowBytes(spec.layout);
  if (expected != 0 && spec.row_bytes != expected) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: row_bytes is ", spec.row_bytes,
                                                   "; layout ", ToString(spec.layout), " has ",
                                                   expected));
  }
  if (spec.row_bytes == 0 || spec.row_bytes > ModelSpec::kMaxRowBytes) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: row_bytes is ", spec.row_bytes,
                                                   "; it must be 1 to ", ModelSpec::kMaxRowBytes));
  }
  if (spec.layout != RowLayout::kOpaque && spec.rotary.dim != 64) {
    return absl::InvalidArgumentError(absl::StrCat("model spec: rotary.dim is ", spec.rotary.dim,
                                                   "; layout ", ToString(spec.layout), " has 64"));
  }
  return absl::OkStatus();
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

absl::Status ModelSpec::Validate() const {
  if (name.empty()) return absl::InvalidArgumentError("model spec: name is empty");
  CISTERN_RETURN_IF_ERROR(ValidateText("name", name));
  CISTERN_RETURN_IF_ERROR(ValidateText("revision", revision));
  if (num_layers == 0 || num_layers > kMaxLayers) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec: num_layers is ", num_layers, "; it must be 1 to ", kMaxLayers));
  }
  if (boundary_tokens.size() > kMaxBoundaryTokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model spec: ", boundary_tokens.size(), " boundary_tokens; at most ", kMaxBoundaryTokens));
  }
  CISTERN_RETURN_IF_ERROR(ValidateRow(*this));
  CISTERN_RETURN_IF_ERROR(state.Validate());
  return rotary.Validate();
}

std::string ModelSpec::ToJson() const {
  Json j = IdentityToJson(*this);
  j["boundary_tokens"] = boundary_tokens;
  j["flops_per_token"] = flops_per_token;
  j["flops_per_token_pair"] = flops_per_token_pair;
  return j.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<ModelSpec> ModelSpec::FromJson(absl::string_view json) {
  CISTERN_ASSIGN_OR_RETURN(const Json object, ParseJsonObject(json, "model spec"));
  return SpecFromJson(JsonObject(&object, "model spec: "));
}

Key ModelSpec::Fingerprint() const {
  return HashBytes(
      absl::StrCat("cistern model 1\n",
                   IdentityToJson(*this).dump(-1, ' ', false, Json::error_handler_t::replace)));
}

}  // namespace cistern::base
