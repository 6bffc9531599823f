#include "base/rope_config.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr absl::string_view kOpaqueAdvice =
    "load the model with layout opaque (exact reuse only, rows are never turned)";

// "yarn", "linear", "default", ... of a block with rope_type, or its older name, type.
absl::StatusOr<std::string> ScalingType(const JsonObject& block) {
  if (block.Has("rope_type")) return block.String("rope_type");
  if (block.Has("type")) return block.String("type");
  if (block.Has("factor")) return block.Error("rope_type", "is missing beside a factor");
  return std::string("default");
}

// A block may only say what RotarySpec can: whole rotary part turned, rounded ramp.
absl::Status CheckVariations(const JsonObject& block) {
  CISTERN_ASSIGN_OR_RETURN(const double partial, block.NumberOr("partial_rotary_factor", 1.0));
  if (partial != 1.0) {
    return block.Error("partial_rotary_factor",
                       absl::StrCat("is ", partial, "; only 1 is supported: ", kOpaqueAdvice));
  }
  CISTERN_ASSIGN_OR_RETURN(const bool truncate, block.BoolOr("truncate", true));
  if (!truncate) {
    return block.Error("truncate",
                       absl::StrCat("is false; only true is supported: ", kOpaqueAdvice));
  }
  CISTERN_ASSIGN_OR_RETURN(const double extrapolation, block.NumberOr("extrapolation_factor", 1.0));
  if (extrapolation != 1.0) {
    return block.Error(
        "extrapolation_factor",
        absl::StrCat("is ", extrapolation, "; only 1 is supported: ", kOpaqueAdvice));
  }
  return absl::OkStatus();
}

absl::Status ReadYarn(const JsonObject& block, RotarySpec* rotary) {
  rotary->scaling = RotaryScaling::kYarn;
  CISTERN_ASSIGN_OR_RETURN(rotary->factor, block.Number("factor"));
  CISTERN_ASSIGN_OR_RETURN(rotary->original_max_position,
                           block.Number("original_max_position_embeddings"));
  CISTERN_ASSIGN_OR_RETURN(rotary->beta_fast, block.NumberOr("beta_fast", 32.0));
  CISTERN_ASSIGN_OR_RETURN(rotary->beta_slow, block.NumberOr("beta_slow", 1.0));
  if (block.Has("attention_factor")) {
    CISTERN_ASSIGN_OR_RETURN(rotary->attention_factor, block.Number("attention_factor"));
    return absl::OkStatus();
  }
  CISTERN_ASSIGN_OR_RETURN(rotary->attention_factor, block.NumberOr("attn_factor", 1.0));
  CISTERN_ASSIGN_OR_RETURN(rotary->mscale, block.NumberOr("mscale", 1.0));
  CISTERN_ASSIGN_OR_RETURN(rotary->mscale_all_dim, block.NumberOr("mscale_all_dim", 0.0));
  return absl::OkStatus();
}

absl::Status ReadScaling(const JsonObject& block, RotarySpec* rotary) {
  CISTERN_ASSIGN_OR_RETURN(const std::string type, ScalingType(block));
  CISTERN_RETURN_IF_ERROR(CheckVariations(block));
  if (type == "default" || type == "none") return absl::OkStatus();
  if (type == "yarn" || type == "deepseek_yarn") return ReadYarn(block, rotary);
  if (type == "linear") {
    rotary->scaling = RotaryScaling::kLinear;
    CISTERN_ASSIGN_OR_RETURN(rotary->factor, block.Number("factor"));
    return absl::OkStatus();
  }
  return block.Error(block.Has("rope_type") ? "rope_type" : "type",
                     absl::StrCat("'", type, "' is not supported, only default, linear and yarn: ",
                                  kOpaqueAdvice));
}

// One spelling; empty when the configuration does not have it.
absl::StatusOr<std::optional<RotarySpec>> ReadSpelling(const JsonObject& config,
                                                       absl::string_view block_name,
                                                       RotaryStyle style) {
  if (!config.Has(block_name)) return std::nullopt;
  CISTERN_ASSIGN_OR_RETURN(const JsonObject block, config.Object(block_name));
  RotarySpec rotary;
  rotary.style = style;
  const JsonObject& owner = block.Has("rope_theta") ? block : config;
  CISTERN_ASSIGN_OR_RETURN(rotary.theta, owner.Number("rope_theta"));
  CISTERN_RETURN_IF_ERROR(ReadScaling(block, &rotary));
  return rotary;
}

}  // namespace

absl::StatusOr<RotarySpec> RotaryFromConfig(const JsonObject& config) {
  RotarySpec rotary;
  CISTERN_ASSIGN_OR_RETURN(const bool nope, config.BoolOr("mla_use_nope", false));
  if (nope) {
    rotary.style = RotaryStyle::kNone;
    return rotary;
  }
  CISTERN_ASSIGN_OR_RETURN(const bool interleaved, config.BoolOr("rope_interleave", true));
  rotary.style = interleaved ? RotaryStyle::kInterleaved : RotaryStyle::kHalf;
  CISTERN_ASSIGN_OR_RETURN(const double partial, config.NumberOr("partial_rotary_factor", 1.0));
  if (partial != 1.0) {
    return config.Error("partial_rotary_factor",
                        absl::StrCat("is ", partial, "; only 1 is supported: ", kOpaqueAdvice));
  }
  CISTERN_ASSIGN_OR_RETURN(const std::optional<RotarySpec> newer,
                           ReadSpelling(config, "rope_parameters", rotary.style));
  CISTERN_ASSIGN_OR_RETURN(const std::optional<RotarySpec> older,
                           ReadSpelling(config, "rope_scaling", rotary.style));
  if (newer.has_value() && older.has_value() && *newer != *older) {
    return config.Error("rope_parameters",
                        "and rope_scaling say different things; remove the one that is wrong");
  }
  if (newer.has_value()) return *newer;
  if (older.has_value()) return *older;
  CISTERN_ASSIGN_OR_RETURN(rotary.theta, config.Number("rope_theta"));
  return rotary;
}

absl::StatusOr<Json> RopeScalingFromMistral(const JsonObject& yarn) {
  CISTERN_ASSIGN_OR_RETURN(const bool apply_scale, yarn.BoolOr("apply_scale", true));
  if (apply_scale) {
    return yarn.Error("apply_scale",
                      absl::StrCat("is true or missing; engines disagree on that table, only false "
                                   "is supported: ",
                                   kOpaqueAdvice));
  }
  Json scaling = {{"rope_type", "yarn"}, {"attention_factor", 1.0}};
  CISTERN_ASSIGN_OR_RETURN(scaling["factor"], yarn.Number("factor"));
  CISTERN_ASSIGN_OR_RETURN(scaling["original_max_position_embeddings"],
                           yarn.Number("original_max_position_embeddings"));
  CISTERN_ASSIGN_OR_RETURN(scaling["beta_fast"], yarn.Number("beta"));
  CISTERN_ASSIGN_OR_RETURN(scaling["beta_slow"], yarn.Number("alpha"));
  return scaling;
}

}  // namespace cistern::base
