// A worker of a small hybrid model: rows as in client_fixture.h, and a recurrent state whose value
// behind any token can be computed again.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "base/state_spec.h"
#include "kernels/recurrence/log_fold.h"
#include "tests/unit/client_lib/client_fixture.h"

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

inline base::ModelSpec HybridModel(base::StateFamily family = base::StateFamily::kGatedDelta) {
  base::ModelSpec model = SmallModel();
  model.name = "small-hybrid";
  model.state = SmallState(family);
  return model;
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
  StateSequence(const base::StateSpec& spec, const Tokens& tokens) : spec_(spec) {
    inputs_.resize(spec.num_layers);
    rows_.resize(spec.num_layers);
    for (uint32_t layer = 0; layer < spec.num_layers; ++layer) {
      for (TokenId token : tokens) {
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
    const auto bits = static_cast<uint16_t>(
        std::bit_cast<uint32_t>(Uniform(random) - 0.5f) >> 16);
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

class StateFixture : public ClientFixture {
 protected:
  void StartHybrid(bool mapped, base::StateFamily family = base::StateFamily::kGatedDelta) {
    Start({.model = HybridModel(family), .mapped = mapped});
  }

  // Shares all rows of `text`, as whoever computed it does.
  void SeedRows(const Text& text) { Seed(text); }

  // Shares states at `positions` of `text`: with a log of [log_begin, size) if one is given.
  // `log_only`: there is no state to fall back to.
  absl::StatusOr<StateReport> SeedStates(const Text& text, const std::vector<uint32_t>& positions,
                                         const FetchResult& fetched, uint32_t log_begin,
                                         StatePolicy policy = {.max_chain_tokens = 1000},
                                         bool log_only = false) {
    const StateSequence sequence(model_.state, text.tokens);
    std::vector<StateMemory> memories;
    memories.reserve(positions.size());
    StateSource source;
    for (uint32_t position : positions) {
      memories.push_back(sequence.At(position));
      source.points.push_back({position, memories.back().view()});
      if (log_only) source.points.back().state.temporal.clear();
    }
    if (log_begin < text.size()) source.log = sequence.Log(log_begin, text.size());
    return client_->PublishStates(model_, text.tokens, fetched, source, policy, text.parts);
  }
  static constexpr uint32_t kNoLog = UINT32_MAX;

  // Checkpoints only.
  void MustCheckpoint(const Text& text, const std::vector<uint32_t>& positions) {
    const auto report = SeedStates(text, positions, {}, kNoLog);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->checkpoints + report->had, positions.size());
  }
  // A log behind each other of `positions`, from `begin` on, where a state is known.
  void MustLog(const Text& text, uint32_t begin, uint32_t chain,
               const std::vector<uint32_t>& positions, base::LogTails tails) {
    const auto report = SeedStates(text, positions, ResumedAt(begin, chain), begin,
                                   {.max_chain_tokens = 1000, .tails = tails}, /*log_only=*/true);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->logs, positions.size());
  }
  static FetchResult ResumedAt(uint32_t position, uint32_t chain) {
    FetchResult fetched;
    fetched.state_position = position;
    fetched.state_chain_tokens = chain;
    return fetched;
  }

  // Fetches into `memory`, which is filled with something else before.
  FetchResult FetchState(const Text& text, Plan plan, StateMemory* memory) {
    memory->Fill(std::byte{0x5a});
    const StateSequence sequence(model_.state, text.tokens);
    FetchOptions options = Raw();
    options.state = memory->view();
    options.constants = sequence.constants();
    return *MustFetch(text, std::move(plan), options).Wait();
  }

  // The plan resumes at `position`, and what is fetched is the state there.
  void ExpectResumed(const Text& text, uint32_t position, uint32_t folded) {
    Plan plan = MustPlan(text, Exact());
    EXPECT_EQ(plan.resume().position, position);
    EXPECT_EQ(plan.resume().folded_tokens, folded);
    StateMemory memory(model_.state);
    const FetchResult fetched = FetchState(text, std::move(plan), &memory);
    EXPECT_EQ(fetched.state_position, position);
    EXPECT_EQ(fetched.state_chain_tokens, folded);
    EXPECT_EQ(Recovered(fetched), position);
    EXPECT_TRUE(fetched.missing.empty());
    EXPECT_EQ(Mismatches(fetched), 0u);
    const StateMemory expected = StateSequence(model_.state, text.tokens).At(position);
    if (folded == 0) {
      EXPECT_TRUE(memory == expected) << "a checkpoint is copied bit by bit";
    } else {
      EXPECT_LE(memory.DistanceTo(expected), 2e-6);
      EXPECT_EQ(memory.conv(), expected.conv());
    }
    ExpectNoLeases();
  }

  // They go back behind whoever waited for the bytes.
  void ExpectNoLeases() {
    const absl::Time give_up = absl::Now() + absl::Seconds(20);
    while (node_->num_leases() > 0 && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(node_->num_leases(), 0u);
  }
};

}  // namespace cistern::testing
