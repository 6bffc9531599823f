// Model specs by short name, for benchmarks, tests and first steps.
//
// A preset is a published configuration cut to the fields that matter, read like any other
// (base/model_config.h). Its revision is "main": set it to that of your weights before workers
// share keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/model_spec.h"

namespace cistern::base {

// bf16_576 rows, or opaque ones where the attention is not MLA. InvalidArgument on an unknown name;
// the error lists the names.
absl::StatusOr<ModelSpec> ModelPreset(absl::string_view name);

std::vector<std::string> ModelPresetNames();

// The first `num_layers` layers of each kind, those that keep rows and those that keep state, as a
// model of its own: the name says so ("...[0:2]"), so its keys are its own too; the FLOP figures
// shrink in proportion. The same spec when it has no more layers of either kind than that. Zero
// layers give a spec that Validate refuses.
ModelSpec WithLayers(ModelSpec spec, uint32_t num_layers);

}  // namespace cistern::base
