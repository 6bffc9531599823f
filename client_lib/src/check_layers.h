// One pointer for each layer: what every description of a worker's state must have.
//
// Thread   any
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace cistern::client {

// InvalidArgument, naming `field`.
template <typename Pointer>
absl::Status CheckLayers(absl::string_view field, const std::vector<Pointer>& layers,
                         uint32_t count) {
  if (layers.size() != count) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " has ", layers.size(), " layers, the model's state ", count));
  }
  if (std::count(layers.begin(), layers.end(), nullptr) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(field, " has a null layer"));
  }
  return absl::OkStatus();
}

}  // namespace cistern::client
