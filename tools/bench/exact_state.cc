#include "tools/bench/exact_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tools/bench/half_floats.h"

namespace cistern::tools {
namespace {

using base::StateFamily;
using base::StateSpec;

double Half(const std::byte* at, uint64_t index) {
  uint16_t bits;
  std::memcpy(&bits, at + index * sizeof(bits), sizeof(bits));
  return FromBf16(bits);
}

double Float(const std::byte* at, uint64_t index) {
  float value;
  std::memcpy(&value, at + index * sizeof(value), sizeof(value));
  return value;
}

// Whether exp(dt A[d][n]) is a power of exp(dt A[d][0]): an exponential a channel instead of one an
// entry.
bool ArePowers(const StateSpec& spec, const float* decay) {
  for (uint32_t d = 0; d < spec.value_dim; ++d) {
    const float* a = decay + uint64_t{d} * spec.key_dim;
    for (uint32_t n = 1; n < spec.key_dim; ++n) {
      if (a[n] != a[0] * static_cast<float>(n + 1)) return false;
    }
  }
  return true;
}

}  // namespace

struct ExactState::Run {
  std::vector<double> key, decay, value,
      beta;  // [token][K], [token][K], [token][padded V], [token]
};

ExactState::ExactState(const StateSpec& spec, const float* decay)
    : spec_(spec),
      decay_(decay),
      delta_(spec.family == StateFamily::kGatedDelta || spec.family == StateFamily::kKda),
      token_bytes_(spec.input_bytes()),
      blocks_((spec.value_dim + kLanes - 1) / kLanes),
      values_(uint64_t{spec.num_heads} * blocks_ * spec.key_dim * kLanes) {
  if (spec.family == StateFamily::kMamba1) powers_ = ArePowers(spec, decay);
}

void ExactState::Clear() { std::fill(values_.begin(), values_.end(), 0.0); }

double ExactState::At(uint32_t head, uint32_t value, uint32_t key) const {
  const uint64_t block = uint64_t{head} * blocks_ + value / kLanes;
  return values_[(block * spec_.key_dim + key) * kLanes + value % kLanes];
}

void ExactState::Advance(const std::byte* inputs, uint32_t num_tokens) {
  if (spec_.family == StateFamily::kMamba1) {
    for (uint32_t t = 0; t < num_tokens; ++t) AdvanceMamba1(inputs + t * token_bytes_);
    return;
  }
  Run run;
  run.key.resize(size_t{kRun} * spec_.key_dim);
  run.decay.resize(size_t{kRun} * spec_.key_dim);
  run.value.resize(size_t{kRun} * blocks_ * kLanes);
  run.beta.resize(kRun);
  for (uint32_t begin = 0; begin < num_tokens; begin += kRun) {
    const uint32_t count = std::min(kRun, num_tokens - begin);
    for (uint32_t head = 0; head < spec_.num_heads; ++head) {
      Prepare(inputs + begin * token_bytes_, head, count, &run);
      AdvanceHead(run, head, count);
    }
  }
}

// One token's fields lie one behind the other; base/state_spec.h has their order.
void ExactState::Prepare(const std::byte* inputs, uint32_t head, uint32_t num_tokens,
                         Run* run) const {
  const uint32_t heads = spec_.num_heads, keys = spec_.key_dim, width = spec_.value_dim;
  const bool mamba = spec_.family == StateFamily::kMamba2;
  const bool channels =
      spec_.family == StateFamily::kGatedLinear || spec_.family == StateFamily::kKda;
  const uint64_t key_bytes = uint64_t{spec_.num_key_heads} * keys * 2;
  const uint64_t value_bytes = uint64_t{heads} * width * 2;
  const uint64_t key_head = head / (heads / spec_.num_key_heads);
  for (uint32_t t = 0; t < num_tokens; ++t) {
    const std::byte* token = inputs + t * token_bytes_;
    const std::byte* k = mamba ? token + value_bytes : token;
    const std::byte* v = mamba ? token : token + key_bytes;
    const std::byte* floats = token + key_bytes + value_bytes;
    const double step = mamba ? Float(floats, head) : 1;
    const double constant = decay_ == nullptr ? 0 : step * decay_[head];
    double g = spec_.family == StateFamily::kGatedDelta ? Float(floats, head) : constant;
    g = std::exp(g);
    for (uint32_t j = 0; j < keys; ++j) {
      run->key[t * keys + j] = Half(k, key_head * keys + j);
      run->decay[t * keys + j] = channels ? std::exp(Float(floats, uint64_t{head} * keys + j)) : g;
    }
    for (uint32_t j = 0; j < width; ++j) {
      run->value[t * blocks_ * kLanes + j] = step * Half(v, uint64_t{head} * width + j);
    }
    const uint64_t decays = channels ? uint64_t{heads} * keys : heads;
    run->beta[t] = delta_ ? Float(floats, decays + head) : 1;
  }
}

// kLanes values at a time, all tokens of the run: that part of the state stays in the nearest
// cache.
void ExactState::AdvanceHead(const Run& run, uint32_t head, uint32_t num_tokens) {
  const size_t keys = spec_.key_dim;
  for (uint32_t block = 0; block < blocks_; ++block) {
    double* state = &values_[(uint64_t{head} * blocks_ + block) * keys * kLanes];
    for (size_t t = 0; t < num_tokens; ++t) {
      const double* key = &run.key[t * keys];
      const double* decay = &run.decay[t * keys];
      double write[kLanes];
      for (uint32_t i = 0; i < kLanes; ++i) {
        write[i] = run.value[(t * blocks_ + block) * kLanes + i];
      }
      if (!delta_) {
        for (size_t j = 0; j < keys; ++j) {
          double* s = state + j * kLanes;
          for (uint32_t i = 0; i < kLanes; ++i) s[i] = s[i] * decay[j] + key[j] * write[i];
        }
        continue;
      }
      double read[kLanes] = {};
      for (size_t j = 0; j < keys; ++j) {
        double* s = state + j * kLanes;
        for (uint32_t i = 0; i < kLanes; ++i) {
          s[i] *= decay[j];
          read[i] += s[i] * key[j];
        }
      }
      for (uint32_t i = 0; i < kLanes; ++i) write[i] = run.beta[t] * (write[i] - read[i]);
      for (size_t j = 0; j < keys; ++j) {
        double* s = state + j * kLanes;
        for (uint32_t i = 0; i < kLanes; ++i) s[i] += key[j] * write[i];
      }
    }
  }
}

// power[i] = exp(dt A) of channels first .. first + kLanes at entry `key`; with powers from the
// one before.
void ExactState::Mamba1Decays(const double* step, uint32_t first, uint32_t key,
                              double* power) const {
  for (uint32_t i = 0; i < kLanes && first + i < spec_.value_dim; ++i) {
    power[i] = std::exp(step[i] * decay_[uint64_t{first + i} * spec_.key_dim + key]);
  }
}

void ExactState::AdvanceMamba1(const std::byte* inputs) {
  const uint32_t width = spec_.value_dim, keys = spec_.key_dim;
  const std::byte* dt = inputs + uint64_t{width} * 2;
  const std::byte* b = dt + uint64_t{width} * 2;
  std::vector<double> row(keys);
  for (uint32_t n = 0; n < keys; ++n) row[n] = Half(b, n);
  for (uint32_t block = 0; block < blocks_; ++block) {
    const uint32_t first = block * kLanes;
    double step[kLanes] = {}, write[kLanes] = {}, base[kLanes] = {}, power[kLanes] = {};
    for (uint32_t i = 0; i < kLanes && first + i < width; ++i) {
      step[i] = Half(dt, first + i);
      write[i] = step[i] * Half(inputs, first + i);
    }
    Mamba1Decays(step, first, 0, base);
    std::copy(base, base + kLanes, power);
    double* state = &values_[uint64_t{block} * keys * kLanes];
    for (uint32_t n = 0; n < keys; ++n) {
      if (n != 0 && !powers_) Mamba1Decays(step, first, n, power);
      for (uint32_t i = 0; i < kLanes; ++i) {
        if (n != 0 && powers_) power[i] *= base[i];
        state[n * kLanes + i] = state[n * kLanes + i] * power[i] + write[i] * row[n];
      }
    }
  }
}

double ExactState::RelativeL2(const std::byte* temporal) const {
  const bool half = spec_.temporal_type == base::StateType::kBf16;
  double difference = 0, size = 0;
  uint64_t index = 0;
  for (uint32_t head = 0; head < spec_.num_heads; ++head) {
    for (uint32_t value = 0; value < spec_.value_dim; ++value) {
      for (uint32_t key = 0; key < spec_.key_dim; ++key, ++index) {
        const double want = At(head, value, key);
        const double got = half ? Half(temporal, index) : Float(temporal, index);
        difference += (got - want) * (got - want);
        size += want * want;
      }
    }
  }
  return std::sqrt(size > 0 ? difference / size : difference);
}

}  // namespace cistern::tools
