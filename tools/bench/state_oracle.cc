#include "tools/bench/state_oracle.h"

#include <algorithm>
#include <cstring>

#include "tools/bench/prefix_hash.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kRunTokens = 64;  // whose inputs are made at a time

uint64_t StateDoubles(const base::StateSpec& spec) {
  return uint64_t{spec.num_layers} * spec.num_heads * spec.value_dim * spec.key_dim;
}

}  // namespace

StateOracle::StateOracle(const StateModel& model, uint64_t max_bytes)
    : model_(model),
      max_kept_(std::max<uint64_t>(1, max_bytes / (StateDoubles(model.spec()) * sizeof(double)))),
      prefixes_{kNoTokens},
      current_prefix_(kNoTokens) {
  for (uint32_t layer = 0; layer < model.spec().num_layers; ++layer) {
    const std::vector<const float*>& decay = model.constants().decay;
    current_.emplace_back(model.spec(), decay.empty() ? nullptr : decay[layer]);
  }
}

void StateOracle::Begin(std::span<const base::TokenId> tokens) {
  tokens_.assign(tokens.begin(), tokens.end());
  prefixes_.resize(1);
  for (const base::TokenId token : tokens)
    prefixes_.push_back(ExtendPrefix(prefixes_.back(), token));
}

StateCheck StateOracle::Check(uint32_t position, const StateView& state) {
  Seek(position);
  StateCheck check;
  for (size_t layer = 0; layer < current_.size(); ++layer) {
    check.relative_l2 =
        std::max(check.relative_l2, current_[layer].RelativeL2(state.temporal[layer]));
  }
  check.conv_equal = ConvEqual(position, state);
  return check;
}

void StateOracle::Keep(uint32_t position) {
  const uint64_t prefix = prefixes_[position];
  if (by_prefix_.contains(prefix)) return;
  Seek(position);
  kept_.push_front({prefix, {}});
  for (const ExactState& layer : current_) kept_.front().layers.push_back(layer.values());
  by_prefix_[prefix] = kept_.begin();
  if (kept_.size() <= max_kept_) return;
  by_prefix_.erase(kept_.back().prefix);
  kept_.pop_back();
}

// Goes to the deepest state on the way that is there: the current one, one that is kept, or zero.
void StateOracle::Seek(uint32_t position) {
  const bool on_path =
      current_position_ <= position && current_prefix_ == prefixes_[current_position_];
  const uint32_t shallowest = on_path ? current_position_ + 1 : 0;
  for (uint32_t at = position + 1; at-- > shallowest;) {
    const auto found = by_prefix_.find(prefixes_[at]);
    if (found == by_prefix_.end()) continue;
    kept_.splice(kept_.begin(), kept_, found->second);
    for (size_t layer = 0; layer < current_.size(); ++layer) {
      current_[layer].set_values(kept_.front().layers[layer]);
    }
    return Advance(at, position);
  }
  if (on_path) return Advance(current_position_, position);
  for (ExactState& layer : current_) layer.Clear();
  Advance(0, position);
}

void StateOracle::Advance(uint32_t begin, uint32_t end) {
  const uint64_t token_bytes = model_.spec().input_bytes();
  std::vector<std::byte> inputs(token_bytes * std::min(kRunTokens, end - begin));
  for (uint32_t first = begin; first < end; first += kRunTokens) {
    const uint32_t count = std::min(kRunTokens, end - first);
    for (uint32_t layer = 0; layer < current_.size(); ++layer) {
      for (uint32_t t = 0; t < count; ++t) {
        model_.Inputs(tokens_[first + t], layer, &inputs[t * token_bytes]);
      }
      current_[layer].Advance(inputs.data(), count);
    }
  }
  steps_ += end - begin;
  current_position_ = end;
  current_prefix_ = prefixes_[end];
}

bool StateOracle::ConvEqual(uint32_t position, const StateView& state) const {
  const uint64_t row_bytes = model_.spec().conv_row_bytes();
  const uint32_t width = model_.spec().conv_width;
  std::vector<std::byte> row(row_bytes);
  for (uint32_t layer = 0; layer < state.conv.size(); ++layer) {
    for (uint32_t i = 0; i < width; ++i) {  // oldest first
      std::fill(row.begin(), row.end(), std::byte{0});
      if (position + i >= width) {
        model_.ConvRow(tokens_[position + i - width], layer, row.data());
      }
      if (std::memcmp(state.conv[layer] + i * row_bytes, row.data(), row_bytes) != 0) return false;
    }
  }
  return true;
}

}  // namespace cistern::tools
