// Recurrent state whose value behind any token can be computed again: a small model of each family,
// what a sequence feeds its layers with, memory for a state.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "base/key.h"
#include "base/state_spec.h"
#include "cistern/state.h"
#include "kernels/recurrence/log_fold.h"

namespace cistern::testing {

// Of each family something small, with a convolution where the family has one.
inline base::StateSpec SmallState(base::StateFamily family) {
  using base::StateFamily;
  base::StateSpec spec;
  spec.family = family;
  spec.num_layers = 2;
  spec.num_heads = family == StateFamily::kMamba1 ? 1 : 4;
  spec.num_key_heads = family == StateFamily::kMamba1 ? 1 : 2;
  spec.key_dim = family == StateFamily::kMamba1 ? 8 : 32;
  spec.value_dim = family == StateFamily::kMamba1 ? 512 : 64;
  if (family != StateFamily::kLightning && family != StateFamily::kGatedLinear) {
    spec.conv_width = 3;
    spec.conv_channels = 20;
  }
  return spec;
}

// Memory for one state.
class StateMemory {
 public:
  explicit StateMemory(const base::StateSpec& spec)
      : temporal_(spec.num_layers, std::vector<std::byte>(spec.temporal_bytes())),
        conv_(spec.conv_width == 0 ? 0 : spec.num_layers,
              std::vector<std::byte>(spec.conv_bytes())) {}

  StateView view() {
    StateView view;
    for (auto& layer : temporal_) view.temporal.push_back(layer.data());
    for (auto& layer : conv_) view.conv.push_back(layer.data());
    return view;
  }
  void Fill(std::byte value) {
    for (auto* all : {&temporal_, &conv_}) {
      for (auto& layer : *all) std::fill(layer.begin(), layer.end(), value);
    }
  }
  bool operator==(const StateMemory&) const = default;

  const std::vector<std::vector<std::byte>>& conv() const { return conv_; }
  // Relative L2 of all float32 temporal states.
  double DistanceTo(const StateMemory& other) const {
    double difference = 0, norm = 0;
    for (size_t layer = 0; layer < temporal_.size(); ++layer) {
      for (size_t at = 0; at < temporal_[layer].size(); at += sizeof(float)) {
        float mine = 0, theirs = 0;
        std::memcpy(&mine, &temporal_[layer][at], sizeof(float));
        std::memcpy(&theirs, &other.temporal_[layer][at], sizeof(float));
        difference += (double{mine} - theirs) * (double{mine} - theirs);
        norm += double{theirs} * theirs;
      }
    }
    return std::sqrt(difference / norm);
  }

 private:
  std::vector<std::vector<std::byte>> temporal_, conv_;
};

// What a sequence feeds its state layers with, and the states that it has.
class StateSequence {
 public:
  StateSequence(const base::StateSpec& spec, std::span<const base::TokenId> tokens) : spec_(spec) {
    inputs_.resize(spec.num_layers);
    rows_.resize(spec.num_layers);
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      for (base::TokenId token : tokens) {
        std::mt19937 random(token * 31 + layer);
        for (size_t field = 0; field < spec.field_bytes().size(); ++field) {
          AddField(field, &random, &inputs_[layer]);
        }
        for (uint32_t i = 0; i < spec.conv_channels; ++i) AddBf16(&random, &rows_[layer]);
      }
      decay_.emplace_back();
      std::mt19937 random(layer + 77);
      const size_t rates = size_t{spec.num_heads} * spec.value_dim * spec.key_dim;
      for (size_t i = 0; i < rates; ++i) decay_.back().push_back(-Uniform(&random) * 0.1f - 0.001f);
    }
  }

  // By definition: from the first token on, in float64, rounded once.
  StateMemory At(uint32_t position) const {
    StateMemory memory(spec_);
    const StateView view = memory.view();
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      kernels::LogFoldParams fold{.spec = spec_};
      fold.log = inputs_[layer].data();
      fold.token_stride = spec_.input_bytes();
      fold.num_tokens = position;
      fold.decay = constants().decay.empty() ? nullptr : decay_[layer].data();
      fold.state_out = view.temporal[layer];
      std::vector<float> scratch(kernels::LogFoldScratchFloats(spec_));
      fold.scratch = scratch;
      EXPECT_TRUE(kernels::ValidateLogFold(fold).ok()) << kernels::ValidateLogFold(fold);
      kernels::FoldLogRef(fold);
      const uint64_t row = spec_.conv_row_bytes();
      for (uint32_t back = 1; back <= std::min(spec_.conv_width, position); ++back) {
        std::memcpy(view.conv[layer] + (spec_.conv_width - back) * row,
                    rows_[layer].data() + (position - back) * row, row);
      }
    }
    return memory;
  }

  StateConstants constants() const {
    StateConstants constants;
    using base::StateFamily;
    if (spec_.family == StateFamily::kMamba1 || spec_.family == StateFamily::kMamba2 ||
        spec_.family == StateFamily::kLightning) {
      for (const auto& layer : decay_) constants.decay.push_back(layer.data());
    }
    return constants;
  }

  LogSource Log(uint32_t begin, uint32_t end) const {
    LogSource log;
    log.begin = begin;
    log.end = end;
    uint64_t offset = begin * spec_.input_bytes();
    for (uint64_t width : spec_.field_bytes()) {
      LogSource::Field field{.layers = {}, .token_stride = spec_.input_bytes()};
      for (const auto& layer : inputs_) field.layers.push_back(layer.data() + offset);
      log.fields.push_back(std::move(field));
      offset += width;
    }
    log.conv_rows.token_stride = spec_.conv_row_bytes();
    for (const auto& layer : rows_) {
      log.conv_rows.layers.push_back(layer.data() + begin * spec_.conv_row_bytes());
    }
    return log;
  }

 private:
  static float Uniform(std::mt19937* random) {
    return static_cast<float>((*random)() >> 8) * 0x1p-24f;
  }
  static void AddBf16(std::mt19937* random, std::vector<std::byte>* out) {
    const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(Uniform(random) - 0.5f) >> 16);
    const auto* bytes = reinterpret_cast<const std::byte*>(&bits);
    out->insert(out->end(), bytes, bytes + sizeof(bits));
  }
  static void AddFloat(float value, std::vector<std::byte>* out) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    out->insert(out->end(), bytes, bytes + sizeof(value));
  }

  // Mamba's dt and the weight beta are positive, log decays negative.
  void AddField(size_t field, std::mt19937* random, std::vector<std::byte>* out) const {
    using base::StateFamily;
    const uint64_t bytes = spec_.field_bytes()[field];
    const bool mamba1_dt = spec_.family == StateFamily::kMamba1 && field == 1;
    const bool floats = field >= 2 && spec_.family != StateFamily::kMamba1;
    if (!floats) {
      for (uint64_t i = 0; i < bytes; i += 2) {
        AddBf16(random, out);
        if (mamba1_dt) out->back() &= std::byte{0x7f};  // the sign
      }
      return;
    }
    const bool decay = field == 2 && spec_.family != StateFamily::kMamba2;
    for (uint64_t i = 0; i < bytes; i += 4) {
      AddFloat(decay ? -0.2f * Uniform(random) : Uniform(random), out);
    }
  }

  const base::StateSpec spec_;
  std::vector<std::vector<std::byte>> inputs_, rows_;  // [state layers], token by token
  std::vector<std::vector<float>> decay_;              // [state layers]
};

}  // namespace cistern::testing
