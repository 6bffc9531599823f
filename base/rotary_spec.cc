// The arithmetic of RotarySpec, declared in base/model_spec.h.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "absl/strings/str_cat.h"

#include "base/model_spec.h"
#include "base/status_macros.h"

namespace cistern::base {
namespace {

constexpr uint32_t kMaxDim = 1024;

double YarnMscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// The (fractional) pair index whose wave turns `rotations` times over the original context.
double CorrectionDim(const RotarySpec& spec, double rotations) {
  return spec.dim * std::log(spec.original_max_position / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(spec.theta));
}

// Written so that NaN fails.
absl::Status CheckRange(absl::string_view field, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model spec: rotary.", field, " is ", value,
                                                 "; it must be ", low, " to ", high));
}

}  // namespace

absl::Status RotarySpec::Validate() const {
  if (style > RotaryStyle::kNone) {
    return absl::InvalidArgumentError("model spec: unknown rotary.style");
  }
  if (scaling > RotaryScaling::kYarn) {
    return absl::InvalidArgumentError("model spec: unknown rotary.scaling");
  }
  if (dim == 0 || dim > kMaxDim || dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("model spec: rotary.dim is ", dim, "; it must be even, 2 to ", kMaxDim));
  }
  CISTERN_RETURN_IF_ERROR(CheckRange("theta", theta, 1.5, 1e12));
  CISTERN_RETURN_IF_ERROR(CheckRange("factor", factor, 1e-3, 1e6));
  CISTERN_RETURN_IF_ERROR(CheckRange("original_max_position", original_max_position, 1, 1e12));
  CISTERN_RETURN_IF_ERROR(CheckRange("beta_fast", beta_fast, 1e-3, 1e6));
  CISTERN_RETURN_IF_ERROR(CheckRange("beta_slow", beta_slow, 1e-3, 1e6));
  CISTERN_RETURN_IF_ERROR(CheckRange("mscale", mscale, 0, 1e3));
  CISTERN_RETURN_IF_ERROR(CheckRange("mscale_all_dim", mscale_all_dim, 0, 1e3));
  return CheckRange("attention_factor", attention_factor, 1e-3, 1e3);
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

}  // namespace cistern::base
