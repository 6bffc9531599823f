// Models that a configuration names, and whether they fit a node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/model_spec.h"

namespace cistern::cacheserver {

// Each is a preset's name, or the path of a config.json (the model is then called like the file's
// directory). NotFound, InvalidArgument: with the name.
absl::StatusOr<std::vector<base::ModelSpec>> LoadModels(const std::vector<std::string>& models);

// ResourceExhausted when the pool does not hold one page of the model.
absl::Status CheckModelFits(const base::ModelSpec& spec, uint64_t pool_bytes);

}  // namespace cistern::cacheserver
