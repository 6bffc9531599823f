// What ours is measured beside must be right, too: steps and ring against the recurrence in
// float64.
#include "tools/bench/states/published_forms.h"

#include "gtest/gtest.h"

#include "recurrence_support.h"

namespace cistern::tools {
namespace {

using kernels::DecayKind;
using kernels::ForEachTarget;
using kernels::kFoldBound;
using kernels::Recurrence;
using kernels::RecurrenceShape;
using kernels::RelativeL2;

constexpr Recurrence kRecurrences[] = {Recurrence::kScalarDecay, Recurrence::kDiagonalDecay,
                                       Recurrence::kGatedDelta, Recurrence::kKda};

struct Example {
  Example(Recurrence recurrence, uint32_t count, std::mt19937_64& random)
      : shape{recurrence, 2, 1, 48, 32},
        tokens(RandomTokens(shape, count, {.decay = DecayKind::kMild}, random)),
        state(RandomState(shape, random)) {
    kernels::ExactState exact(shape, state);
    for (uint32_t t = 0; t < count; ++t) {
      for (const double o : exact.Step(tokens, t)) answers.push_back(o);
      states.push_back(exact.values());
    }
  }
  const RecurrenceShape shape;
  const kernels::Tokens tokens;
  const std::vector<float> state;
  std::vector<double> answers;
  std::vector<std::vector<double>> states;
};

TEST(RunStepsTest, StatesAndAnswersAreTheRecurrences) {
  std::mt19937_64 random(91);
  for (const Recurrence recurrence : kRecurrences) {
    const Example run(recurrence, 9, random);
    ForEachTarget([&] {
      const size_t floats = run.shape.state_floats();
      std::vector<float> end(floats + 16), kept(9 * floats + 16), out(9 * 64),
          scratch(StepScratchFloats(run.shape));
      const auto aligned = [](std::vector<float>& v) {
        return v.data() + (64 - reinterpret_cast<uintptr_t>(v.data()) % 64) % 64 / 4;
      };
      for (const bool keep : {false, true}) {
        const StepItem item{.state_in = run.state.data(),
                            .state_out = aligned(end),
                            .kept = keep ? aligned(kept) : nullptr,
                            .num_tokens = 9,
                            .q = run.tokens.q.From(0),
                            .k = run.tokens.k.From(0),
                            .v = run.tokens.v.From(0),
                            .decay = run.tokens.Decay(0),
                            .weight = run.tokens.weight.From(0),
                            .out = out.data()};
        RunSteps(run.shape, {&item, 1}, scratch);
        EXPECT_LE(RelativeL2(std::span(aligned(end), floats), run.states.back()), kFoldBound);
        EXPECT_LE(RelativeL2(out, run.answers), kFoldBound);
      }
      const StepItem nobody_asks{.state_in = run.state.data(),
                                 .state_out = aligned(end),
                                 .num_tokens = 9,
                                 .k = run.tokens.k.From(0),
                                 .v = run.tokens.v.From(0),
                                 .decay = run.tokens.Decay(0),
                                 .weight = run.tokens.weight.From(0)};
      std::fill(end.begin(), end.end(), 0.0f);
      RunSteps(run.shape, {&nobody_asks, 1}, scratch);
      EXPECT_LE(RelativeL2(std::span(aligned(end), floats), run.states.back()), kFoldBound);
      for (size_t t = 0; t < 9; ++t) {
        EXPECT_LE(RelativeL2(std::span(aligned(kept) + t * floats, floats), run.states[t]),
                  kFoldBound);
      }
    });
  }
}

TEST(RunRingTest, AnswersAreTheRecurrences) {
  std::mt19937_64 random(92);
  for (const Recurrence recurrence : kRecurrences) {
    const Example run(recurrence, 16, random);
    ForEachTarget([&] {
      std::vector<float> u(16 * 64), out(16 * 64), scratch(RingScratchFloats(run.shape));
      for (const auto& [from, count] : {std::pair(0, 1), {1, 6}, {7, 1}, {8, 8}}) {
        const kernels::DecodeItem item{.state = run.state.data(),
                                       .num_buffered = static_cast<uint32_t>(from),
                                       .num_new = static_cast<uint32_t>(count),
                                       .q = run.tokens.q.From(from),
                                       .k = run.tokens.k.From(0),
                                       .v = run.tokens.v.From(from),
                                       .decay = run.tokens.Decay(0),
                                       .weight = run.tokens.weight.From(from),
                                       .u = u.data(),
                                       .u_token_stride = 64,
                                       .out = out.data() + from * 64,
                                       .out_token_stride = 64};
        RunRing(run.shape, {&item, 1}, scratch);
      }
      EXPECT_LE(RelativeL2(out, run.answers), kFoldBound) << "recurrence " << int(recurrence);
    });
  }
}

TEST(FoldThroughRingTest, StatesAreTheRecurrences) {
  std::mt19937_64 random(93);
  for (const Recurrence recurrence : kRecurrences) {
    const Example run(recurrence, 40, random);
    ForEachTarget([&] {
      std::vector<float> end(run.state), u(40 * 64), scratch(RingScratchFloats(run.shape));
      const kernels::FoldItem item{.state_in = end.data(),
                                   .state_out = end.data(),
                                   .num_tokens = 40,
                                   .k = run.tokens.k.From(0),
                                   .v = run.tokens.v.From(0),
                                   .decay = run.tokens.Decay(0),
                                   .weight = run.tokens.weight.From(0)};
      FoldThroughRing(run.shape, {&item, 1}, u.data(), scratch);
      EXPECT_LE(RelativeL2(end, run.states.back()), kFoldBound) << "recurrence " << int(recurrence);
    });
  }
}

}  // namespace
}  // namespace cistern::tools
