// A state in device memory, and its stand-in in host memory, where it is put together or read.
//
// Thread   one at a time
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/state_spec.h"
#include "cistern/device_memory.h"
#include "cistern/state.h"

namespace cistern::client {

class StagedState {
 public:
  // `state` may have no temporal part, or no tails: then host() has none either. A state of host
  // memory is its own stand-in, and both copies do nothing.
  static absl::StatusOr<StagedState> Create(const base::StateSpec& spec, const StateView& state);

  const StateView& host() const { return host_; }
  absl::Status ToDevice() const;
  absl::Status FromDevice() const;

 private:
  DeviceMemory* device_ = nullptr;
  DeviceMemory::HostMemory memory_;
  StateView host_;
  std::vector<DeviceMemory::Piece> pieces_;
};

}  // namespace cistern::client
