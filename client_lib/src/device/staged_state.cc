#include "client_lib/src/device/staged_state.h"

#include "base/status_macros.h"

namespace cistern::client {

absl::StatusOr<StagedState> StagedState::Create(const base::StateSpec& spec,
                                                const StateView& state) {
  StagedState staged;
  staged.device_ = state.device;
  if (staged.device_ == nullptr) {
    staged.host_ = state;
    return staged;
  }
  CISTERN_ASSIGN_OR_RETURN(staged.memory_,
                           staged.device_->Stage(state.temporal.size() * spec.temporal_bytes() +
                                                 state.conv.size() * spec.conv_bytes()));
  std::byte* at = staged.memory_.get();
  const auto stand_in = [&](std::byte* layer, uint64_t bytes, std::vector<std::byte*>* layers) {
    layers->push_back(at);
    staged.pieces_.push_back({.device = layer,
                              .device_stride = bytes,
                              .host = at,
                              .host_stride = bytes,
                              .row_bytes = bytes,
                              .rows = 1});
    at += bytes;
  };
  for (std::byte* layer : state.temporal) {
    stand_in(layer, spec.temporal_bytes(), &staged.host_.temporal);
  }
  for (std::byte* layer : state.conv) stand_in(layer, spec.conv_bytes(), &staged.host_.conv);
  return staged;
}

absl::Status StagedState::ToDevice() const {
  return device_ == nullptr ? absl::OkStatus() : device_->ToDevice(pieces_);
}

absl::Status StagedState::FromDevice() const {
  return device_ == nullptr ? absl::OkStatus() : device_->FromDevice(pieces_);
}

}  // namespace cistern::client
