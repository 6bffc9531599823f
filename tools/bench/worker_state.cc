#include "tools/bench/worker_state.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "kernels/recurrence/log_fold.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kFoldTokens = 256;  // folded at a time

}  // namespace

StateView WorkerState::Memory::view() {
  StateView view;
  for (std::vector<std::byte>& layer : temporal) view.temporal.push_back(layer.data());
  for (std::vector<std::byte>& layer : conv) view.conv.push_back(layer.data());
  return view;
}

WorkerState::WorkerState(const StateModel& model)
    : model_(model),
      spec_(model.spec()),
      log_(spec_.num_layers),
      inputs_(kFoldTokens * spec_.input_bytes()),
      scratch_(kernels::LogFoldScratchFloats(spec_)) {
  memory_.temporal.assign(spec_.num_layers, std::vector<std::byte>(spec_.temporal_bytes()));
  if (spec_.conv_width != 0) {
    memory_.conv.assign(spec_.num_layers, std::vector<std::byte>(spec_.conv_bytes()));
  }
  view_ = memory_.view();
}

void WorkerState::Begin(std::span<const base::TokenId> tokens) {
  tokens_ = tokens;
  position_ = 0;
  copies_.clear();
  for (auto* layers : {&memory_.temporal, &memory_.conv}) {
    for (std::vector<std::byte>& layer : *layers) {
      std::fill(layer.begin(), layer.end(), std::byte{0});
    }
  }
}

void WorkerState::MakeInputs(uint32_t layer, uint32_t begin, uint32_t end,
                             std::byte* inputs) const {
  for (uint32_t t = begin; t < end; ++t, inputs += spec_.input_bytes()) {
    model_.Inputs(tokens_[t], layer, inputs);
  }
}

absl::Status WorkerState::Advance(uint32_t end) {
  const std::vector<const float*>& decay = model_.constants().decay;
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    for (uint32_t begin = position_; begin < end; begin += kFoldTokens) {
      const uint32_t count = std::min(kFoldTokens, end - begin);
      MakeInputs(layer, begin, begin + count, inputs_.data());
      CISTERN_RETURN_IF_ERROR(kernels::FoldLog({.spec = spec_,
                                                .log = inputs_.data(),
                                                .token_stride = spec_.input_bytes(),
                                                .num_tokens = count,
                                                .decay = decay.empty() ? nullptr : decay[layer],
                                                .state_in = view_.temporal[layer],
                                                .state_out = view_.temporal[layer],
                                                .scratch = scratch_}));
    }
    if (spec_.conv_width != 0) AdvanceConv(layer, end);
  }
  position_ = std::max(position_, end);
  return absl::OkStatus();
}

// The tail keeps the last conv_width rows, zeros before the first token.
void WorkerState::AdvanceConv(uint32_t layer, uint32_t end) {
  const uint64_t row = spec_.conv_row_bytes();
  const uint32_t fresh = std::min(end - std::min(end, position_), spec_.conv_width);
  const uint32_t old = spec_.conv_width - fresh;
  std::byte* tail = view_.conv[layer];
  std::memmove(tail, tail + fresh * row, old * row);
  for (uint32_t i = 0; i < fresh; ++i) {
    model_.ConvRow(tokens_[end - fresh + i], layer, tail + (old + i) * row);
  }
}

StatePoint WorkerState::Copy() {
  copies_.push_back(memory_);
  return {position_, copies_.back().view()};
}

LogSource WorkerState::Log(uint32_t begin, uint32_t end) {
  LogSource log{.begin = begin, .end = end};
  if (begin == end) return log;
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    log_[layer].resize((end - begin) * spec_.input_bytes());
    MakeInputs(layer, begin, end, log_[layer].data());
  }
  uint64_t offset = 0;
  for (const uint64_t width : spec_.field_bytes()) {
    LogSource::Field field{.token_stride = spec_.input_bytes()};
    for (const std::vector<std::byte>& layer : log_) field.layers.push_back(layer.data() + offset);
    log.fields.push_back(std::move(field));
    offset += width;
  }
  return log;
}

}  // namespace cistern::tools
