// What `cistern-bench states` measures: a kernel on a layer of a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "kernels/recurrence/recurrence.h"

namespace cistern::tools {

enum class StatesKernel : uint8_t {
  kFold,    // `tokens` inputs of a log go into a checkpoint, out of place
  kDecode,  // one token at a time with a buffer of `tokens`, and the flush that empties it
  kVerify,  // `tokens` drafts are answered at once, and all of them committed
};

// A layer: heads of one of the recurrences, or Mamba-1's channels.
struct StatesLayer {
  std::string model;
  std::string family;
  kernels::RecurrenceShape shape;  // Mamba-1: value_dim channels of key_dim, in one head
  bool rates = false;              // g = dt * A, weight = dt
  bool constant_decay = false;     // one g per head
  bool mamba1 = false;

  uint64_t state_bytes() const { return shape.state_floats() * sizeof(float); }
  std::string ShapeText() const;  // "32/16 x 128 x 128": heads/key heads x V x K
};

struct StatesCase {
  StatesKernel kernel = StatesKernel::kFold;
  StatesLayer layer;
  uint32_t batch = 32;
  uint32_t tokens = 0;
};

absl::string_view KernelName(StatesKernel kernel);

// All cases of the named kernels; InvalidArgument: a name that is none, or no name.
absl::StatusOr<std::vector<StatesCase>> ParseStatesCases(absl::string_view kernels, uint32_t batch);

}  // namespace cistern::tools
