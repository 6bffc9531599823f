// Fold against the recurrence token by token in float64, over families, decays, lengths, shapes and
// every instruction set; how folds add up; and each call that must be refused.
#include "kernels/recurrence/fold.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "recurrence_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

FoldItem ItemOf(const Tokens& tokens, uint32_t from, uint32_t to, const float* in, float* out) {
  return {.state_in = in,
          .state_out = out,
          .num_tokens = to - from,
          .k = tokens.k.From(from),
          .v = tokens.v.From(from),
          .decay = tokens.Decay(from),
          .weight = tokens.weight.From(from)};
}

// Folds out of place; `state` empty is the zero state.
std::vector<float> Folded(const RecurrenceShape& shape, const Tokens& tokens, uint32_t from,
                          uint32_t to, const std::vector<float>& state, bool reference = false) {
  std::vector<float> scratch(FoldScratchFloats(shape), std::nanf(""));
  std::vector<float> out(shape.state_floats(), std::nanf(""));
  const FoldItem item =
      ItemOf(tokens, from, to, state.empty() ? nullptr : state.data(), out.data());
  const FoldParams params{.shape = shape, .items = {&item, 1}, .scratch = scratch};
  EXPECT_TRUE(ValidateFold(params).ok()) << ValidateFold(params);
  reference ? FoldRef(params) : FoldCpu(params);
  return out;
}

std::vector<double> Exact(const RecurrenceShape& shape, const Tokens& tokens, uint32_t to,
                          const std::vector<float>& state) {
  ExactState exact(shape, state);
  exact.Run(tokens, 0, to);
  return exact.values();
}

TEST(Fold, EqualsTheRecurrenceForEveryFamilyDecayAndLength) {
  std::mt19937_64 random(51);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 2, 64, 32};
    for (const DecayKind decay : kDecayKinds) {
      const ElementType type = Pick(0, 1, random) == 0 ? ElementType::kBf16 : ElementType::kFloat32;
      const Tokens tokens = RandomTokens(shape, 256, {.type = type, .decay = decay}, random);
      const std::vector<float> state = RandomState(shape, random);
      ExactState exact(shape, state);
      uint32_t done = 0;
      for (const uint32_t count : {0, 1, 2, 15, 16, 17, 100, 256}) {
        exact.Run(tokens, done, count);
        done = count;
        ForEachTarget([&] {
          EXPECT_LE(RelativeL2(Folded(shape, tokens, 0, count, state), exact.values()), kFoldBound)
              << "recurrence " << int(recurrence) << " decay " << int(decay) << " tokens " << count;
        });
      }
    }
  }
}

// What every token rounds the same way must not add up: one decay for all tokens, from the smallest
// that matters to one that leaves e^-25 of the state, keys that are nearly one, and values that are
// all zero, so that only the state's decay is left.
TEST(Fold, ErrorsOfOneSignDoNotAddUp) {
  std::mt19937_64 random(55);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 1, 1, 48, 16};
    for (const double g : {-1e-7, -1e-5, -1e-4, -4e-4, -1.3e-3, -4e-3, -.013, -.04, -.1}) {
      for (const bool similar_keys : {false, true}) {
        for (const bool silent : {false, true}) {
          Tokens tokens = RandomTokens(shape, 256, {.similar_keys = similar_keys}, random);
          const uint32_t width = DecaysByChannel(recurrence) ? shape.key_dim : 1;
          const auto same = [g](auto...) { return g; };
          const auto zero = [](auto...) { return 0; };
          tokens.g = TokenData(ElementType::kFloat32, 1, 1, width, 0, same).Repeated();
          if (silent) {
            tokens.v = TokenData(ElementType::kBf16, 256, 1, shape.value_dim, 0, zero);
            tokens.weight = TokenData(ElementType::kFloat32, 256, 1, 1, 0, zero);
          }
          const std::vector<float> state = RandomState(shape, random);
          const std::vector<double> exact = Exact(shape, tokens, 256, state);
          ForEachTarget([&] {
            EXPECT_LE(RelativeL2(Folded(shape, tokens, 0, 256, state), exact), kFoldBound)
                << "recurrence " << int(recurrence) << " g " << g << (silent ? " silent" : "")
                << (similar_keys ? " similar keys" : "");
          });
        }
      }
    }
  }
}

// Dimensions that fill no vector, grouped key heads, arrays with gaps, rates, no weights, more
// tokens than one pass takes, no state.
TEST(Fold, EqualsTheRecurrenceForRandomShapes) {
  std::mt19937_64 random(52);
  for (int round = 0; round < 60; ++round) {
    const uint32_t groups = Pick(1, 2, random);
    const RecurrenceShape shape{kRecurrences[round % std::size(kRecurrences)],
                                groups * Pick(1, 2, random), groups, Pick(1, 90, random),
                                Pick(1, 40, random)};
    const uint32_t count = round % 8 == 0 ? Pick(257, 300, random) : Pick(0, 50, random);
    const TokenOptions options{.type = round % 2 ? ElementType::kBf16 : ElementType::kFloat32,
                               .decay = kDecayKinds[Pick(0, std::size(kDecayKinds) - 1, random)],
                               .weights = Pick(0, 1, random) == 1 || IsDelta(shape.recurrence),
                               .rates = Pick(0, 1, random) == 1,
                               .gap = Pick(0, 3, random)};
    const Tokens tokens = RandomTokens(shape, count, options, random);
    const std::vector<float> state = round % 5 ? RandomState(shape, random) : std::vector<float>();
    const std::vector<double> exact = Exact(shape, tokens, count, state);
    const std::string what = absl::StrCat("round ", round, ": ", shape.num_heads, " heads of ",
                                          shape.value_dim, " x ", shape.key_dim, ", ", count);
    EXPECT_LE(RelativeL2(Folded(shape, tokens, 0, count, state, true), exact), 1e-7) << what;
    ForEachTarget([&] {
      EXPECT_LE(RelativeL2(Folded(shape, tokens, 0, count, state), exact), kFoldBound) << what;
    });
  }
}

TEST(Fold, TwoFoldsAreOne) {
  std::mt19937_64 random(53);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 1, 48, 24};
    for (int round = 0; round < 10; ++round) {
      const uint32_t count = Pick(2, 120, random), cut = Pick(1, count - 1, random);
      const Tokens tokens = RandomTokens(
          shape, count, {.decay = kDecayKinds[round % std::size(kDecayKinds)]}, random);
      const std::vector<float> state = RandomState(shape, random);
      const std::vector<float> first = Folded(shape, tokens, 0, cut, state);
      EXPECT_LE(RelativeL2(Folded(shape, tokens, cut, count, first),
                           Folded(shape, tokens, 0, count, state)),
                kFoldBound)
          << "recurrence " << int(recurrence) << ", " << cut << " of " << count;
    }
  }
}

// Items of one call: different lengths, one without a state, one in place, one of no tokens.
TEST(Fold, ABatchMixesLengths) {
  ForEachTarget([] {
    std::mt19937_64 random(54);
    for (const Recurrence recurrence : kRecurrences) {
      const RecurrenceShape shape{recurrence, 4, 2, 64, 20};
      const uint32_t lengths[] = {33, 0, 1, 16, 70, 0};
      std::vector<Tokens> tokens;
      std::vector<std::vector<float>> in, out;
      std::vector<FoldItem> items;
      for (size_t i = 0; i < std::size(lengths); ++i) {
        tokens.push_back(RandomTokens(shape, lengths[i], {}, random));
        in.push_back(RandomState(shape, random));
        out.push_back(in.back());
      }
      for (size_t i = 0; i < std::size(lengths); ++i) {
        const float* state = i == 2 || i == 5 ? nullptr : i == 3 ? out[i].data() : in[i].data();
        items.push_back(ItemOf(tokens[i], 0, lengths[i], state, out[i].data()));
      }
      std::vector<float> scratch(FoldScratchFloats(shape));
      ASSERT_TRUE(Fold({.shape = shape, .items = items, .scratch = scratch}).ok());
      for (size_t i = 0; i < std::size(lengths); ++i) {
        const std::vector<float> from = items[i].state_in == nullptr ? std::vector<float>() : in[i];
        EXPECT_LE(RelativeL2(out[i], Exact(shape, tokens[i], lengths[i], from)), kFoldBound)
            << "item " << i;
      }
    }
  });
}

// States lie where engines put them: any alignment of 4 bytes, and nothing beside them is written.
TEST(Fold, WritesItsStateAndNothingElse) {
  ForEachTarget([] {
    std::mt19937_64 random(55);
    for (const Recurrence recurrence : kRecurrences) {
      for (const uint32_t key_dim : {16u, 33u, 128u}) {
        const RecurrenceShape shape{recurrence, 2, 2, key_dim, 19};
        const Tokens tokens = RandomTokens(shape, 20, {}, random);
        const std::vector<float> state = RandomState(shape, random);
        const std::vector<float> expected = Folded(shape, tokens, 0, 20, state);
        for (const size_t shift : {0, 1, 7, 16}) {
          std::vector<float> memory(shape.state_floats() + 64, 7.0f);
          const size_t aligned = (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64 / 4;
          float* const out = memory.data() + aligned + shift;
          std::vector<float> scratch(FoldScratchFloats(shape) + 1);
          const FoldItem item = ItemOf(tokens, 0, 20, state.data(), out);
          ASSERT_TRUE(
              Fold({.shape = shape, .items = {&item, 1}, .scratch = std::span(scratch).subspan(1)})
                  .ok());
          EXPECT_TRUE(std::equal(expected.begin(), expected.end(), out)) << "shift " << shift;
          for (size_t i = 0; i < memory.size(); ++i) {
            const float* const at = &memory[i];
            if (at < out || at >= out + shape.state_floats()) {
              ASSERT_EQ(*at, 7.0f) << "shift " << shift;
            }
          }
        }
      }
    }
  });
}

// Behind a decay to nothing only what came later is left, and not one digit of it is lost.
TEST(Fold, WhatIsForgottenLeavesNoTrace) {
  std::mt19937_64 random(56);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 1, 1, 32, 16};
    const Tokens tokens = RandomTokens(shape, 40, {.decay = DecayKind::kAll60}, random);
    std::vector<float> huge(shape.state_floats(), 1e30f);
    EXPECT_LE(RelativeL2(Folded(shape, tokens, 0, 40, huge), Folded(shape, tokens, 0, 40, {})),
              kFoldBound);
  }
}

class FoldRefusals : public ::testing::Test {
 protected:
  FoldRefusals() {
    std::mt19937_64 random(57);
    tokens_ = RandomTokens(shape_, 4, {}, random);
    state_.assign(shape_.state_floats(), 3.0f);
    scratch_.resize(FoldScratchFloats(shape_));
    item_ = ItemOf(tokens_, 0, 4, state_.data(), state_.data());
  }

  void Expect(absl::string_view message) {
    const absl::Status status = Fold({.shape = shape_, .items = {&item_, 1}, .scratch = scratch_});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(message)));
    EXPECT_EQ(state_, std::vector<float>(state_.size(), 3.0f)) << "nothing is written";
  }

  RecurrenceShape shape_{Recurrence::kScalarDecay, 4, 2, 8, 8};
  Tokens tokens_;
  std::vector<float> state_, scratch_;
  FoldItem item_;
};

TEST_F(FoldRefusals, Shapes) {
  const RecurrenceShape good = shape_;
  shape_.num_heads = 0, Expect("0 heads over 2 key heads"), shape_ = good;
  shape_.num_key_heads = 0, Expect("4 heads over 0 key heads"), shape_ = good;
  shape_.num_key_heads = 3, Expect("4 heads over 3 key heads"), shape_ = good;
  shape_.num_heads = 1u << 30, Expect("heads"), shape_ = good;
  shape_.key_dim = 0, Expect("key_dim 0, value_dim 8"), shape_ = good;
  shape_.value_dim = 0, Expect("key_dim 8, value_dim 0"), shape_ = good;
  shape_.key_dim = 1025, Expect("both are 1 to 1024"), shape_ = good;
  shape_.value_dim = 1025, Expect("both are 1 to 1024"), shape_ = good;
  shape_.recurrence = static_cast<Recurrence>(9), Expect("no recurrence number 9");
}

TEST_F(FoldRefusals, Items) {
  const FoldItem good = item_;
  item_.state_out = nullptr, Expect("fold: item 0: state_out is null"), item_ = good;
  item_.state_in = state_.data() + 1, Expect("state_in and state_out overlap"), item_ = good;
  item_.k.data = nullptr, Expect("k is null"), item_ = good;
  item_.v.data = nullptr, Expect("v is null"), item_ = good;
  item_.decay.log.data = nullptr, Expect("decay is null"), item_ = good;
  item_.v.type = static_cast<ElementType>(7), Expect("v has elements of no known type");
  item_ = good;
  item_.weight.type = static_cast<ElementType>(7), Expect("weight has elements"), item_ = good;
  item_.k.data = reinterpret_cast<const std::byte*>(item_.k.data) + 1;
  Expect("k is not aligned");
}

TEST_F(FoldRefusals, ScratchThatIsTooSmall) {
  scratch_.pop_back();
  Expect("fold: scratch of ");
}

TEST_F(FoldRefusals, TokensAreNotAskedForWhereThereAreNone) {
  item_ = {.state_in = state_.data(), .state_out = state_.data()};
  EXPECT_TRUE(Fold({.shape = shape_, .items = {&item_, 1}, .scratch = scratch_}).ok());
  EXPECT_EQ(state_, std::vector<float>(state_.size(), 3.0f));
}

}  // namespace
}  // namespace cistern::kernels
