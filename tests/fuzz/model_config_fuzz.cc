// Model specs from foreign text: a published configuration, and the JSON that travels. Whatever is
// accepted must be valid, travel unchanged and turn by finite frequencies.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"

#include "base/model_config.h"
#include "base/model_spec.h"

namespace {

using cistern::base::ModelSpec;
using cistern::base::RowLayout;

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "model_config_fuzz: %s\n", what);
  std::abort();
}

void CheckAccepted(const ModelSpec& spec) {
  Require(spec.Validate().ok(), "an accepted spec is not valid");
  const absl::StatusOr<ModelSpec> back = ModelSpec::FromJson(spec.ToJson());
  Require(back.ok() && *back == spec, "an accepted spec does not travel unchanged");
  Require(back->Fingerprint() == spec.Fingerprint(), "equal specs have other fingerprints");
  for (const double f : spec.rotary.InverseFrequencies()) {
    Require(std::isfinite(f) && f > 0, "an accepted spec has a frequency that is no number");
  }
  Require(std::isfinite(spec.rotary.TableScale()), "the table scale is no number");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto spec = ModelSpec::FromJson(text); spec.ok()) CheckAccepted(*spec);
  for (const RowLayout layout : {RowLayout::kBf16_576, RowLayout::kOpaque}) {
    const auto spec =
        cistern::base::ModelSpecFromHfConfig(text, "some/model", "r1", {.layout = layout});
    if (spec.ok()) CheckAccepted(*spec);
  }
  return 0;
}
