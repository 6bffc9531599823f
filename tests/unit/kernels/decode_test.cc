// Decode and Commit against the recurrence token by token in float64: deferred decode over a whole
// buffer, verify and commit of every prefix of a draft, and each call that must be refused.
#include "kernels/recurrence/decode.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "kernels/recurrence/fold.h"
#include "recurrence_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

// A sequence: the state of an earlier token, its buffer, and the exact answers beside it.
class Sequence {
 public:
  Sequence(const RecurrenceShape& shape, uint32_t num_tokens, const TokenOptions& options,
           bool zero_state, std::mt19937_64& random)
      : shape_(shape),
        tokens_(RandomTokens(shape, num_tokens, options, random)),
        state_(zero_state ? std::vector<float>() : RandomState(shape, random)),
        row_(size_t{shape.num_heads} * shape.value_dim),
        u_(num_tokens * row_, std::nanf("")),
        exact_(shape, state_) {
    for (uint32_t t = 0; t < num_tokens; ++t) {
      for (const double o : exact_.Step(tokens_, t)) answers_.push_back(o);
      states_.push_back(exact_.values());
    }
  }

  // Tokens [from, to) are new behind those since token `at` of the state.
  void Decode(uint32_t at, uint32_t from, uint32_t to, bool reference = false) {
    std::vector<float> out((to - from) * row_, std::nanf(""));
    std::vector<float> scratch(DecodeScratchFloats(shape_), std::nanf(""));
    const DecodeItem item = Item(at, from, to, out.data());
    const DecodeParams params{.shape = shape_, .items = {&item, 1}, .scratch = scratch};
    EXPECT_TRUE(ValidateDecode(params).ok()) << ValidateDecode(params);
    const std::vector<float> before = state_;
    reference ? DecodeRef(params) : DecodeCpu(params);
    EXPECT_EQ(before, state_) << "the state is only read";
    given_.insert(given_.end(), out.begin(), out.end());
    wanted_.insert(wanted_.end(), answers_.begin() + from * row_, answers_.begin() + to * row_);
  }
  // Of all answers so far: a single one may be the difference of much larger numbers.
  double AnswerError() const { return RelativeL2(given_, wanted_); }
  // Brings the state from token `at` to token `to`.
  absl::Status Commit(uint32_t at, uint32_t to) {
    if (state_.empty()) state_.resize(shape_.state_floats());
    std::vector<float> scratch(FoldScratchFloats(shape_));
    const CommitItem item{.state = state_.data(),
                          .num_tokens = to - at,
                          .k = tokens_.k.From(at),
                          .decay = tokens_.Decay(at),
                          .u = u_.data() + at * row_,
                          .u_token_stride = row_};
    return kernels::Commit({.shape = shape_, .items = {&item, 1}, .scratch = scratch});
  }
  double StateError(uint32_t after) const { return RelativeL2(state_, states_[after - 1]); }

  DecodeItem Item(uint32_t at, uint32_t from, uint32_t to, float* out) {
    return {.state = state_.empty() ? nullptr : state_.data(),
            .num_buffered = from - at,
            .num_new = to - from,
            .q = tokens_.q.From(from),
            .k = tokens_.k.From(at),
            .v = tokens_.v.From(from),
            .decay = tokens_.Decay(at),
            .weight = tokens_.weight.From(from),
            .u = u_.data() + at * row_,
            .u_token_stride = row_,
            .out = out,
            .out_token_stride = row_};
  }
  std::vector<float>& state() { return state_; }
  std::vector<float>& u() { return u_; }

 private:
  RecurrenceShape shape_;
  Tokens tokens_;
  std::vector<float> state_;
  size_t row_;
  std::vector<float> u_;
  ExactState exact_;
  std::vector<double> answers_;
  std::vector<float> given_;
  std::vector<double> wanted_;
  std::vector<std::vector<double>> states_;
};

// Token by token with a buffer of m: every answer, and the state after each flush.
TEST(Decode, ABufferAndFlushesEqualTheRecurrence) {
  std::mt19937_64 random(71);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 1, 64, 37};
    for (const DecayKind decay : kDecayKinds) {
      for (const bool zero_state : {false, true}) {
        const Sequence fresh(shape, 40, {.decay = decay}, zero_state, random);
        ForEachTarget([&] {
          Sequence sequence = fresh;
          const uint32_t m = 16;
          uint32_t at = 0;
          for (uint32_t t = 0; t < 40; ++t) {
            sequence.Decode(at, t, t + 1);
            ASSERT_LE(sequence.AnswerError(), kFoldBound)
                << "recurrence " << int(recurrence) << " decay " << int(decay) << " token " << t;
            if (t + 1 - at < m) continue;
            ASSERT_TRUE(sequence.Commit(at, t + 1).ok());
            at = t + 1;
            ASSERT_LE(sequence.StateError(at), kFoldBound);
          }
        });
      }
    }
  }
}

// A draft of any length behind any buffer: all answers at once; then each prefix is committed.
// None accepted: the state keeps every bit. All accepted: the recurrence.
TEST(Decode, VerifyThenCommitAnyPrefix) {
  std::mt19937_64 random(72);
  for (int round = 0; round < 40; ++round) {
    const uint32_t groups = Pick(1, 2, random);
    const RecurrenceShape shape{kRecurrences[round % 4], groups * Pick(1, 2, random), groups,
                                Pick(0, 1, random) == 0 ? 64 : Pick(1, 70, random),
                                Pick(0, 1, random) == 0 ? 32 : Pick(1, 40, random)};
    const uint32_t buffered = round % 3 == 0 ? 0 : Pick(1, 20, random);
    const uint32_t drafts = Pick(1, 20, random);
    const TokenOptions options{.type = round % 2 ? ElementType::kBf16 : ElementType::kFloat32,
                               .decay = kDecayKinds[Pick(0, std::size(kDecayKinds) - 1, random)],
                               .weights = Pick(0, 1, random) == 1 || IsDelta(shape.recurrence),
                               .rates = Pick(0, 1, random) == 1,
                               .gap = Pick(0, 2, random)};
    const Sequence fresh(shape, buffered + drafts, options, round % 5 == 0, random);
    const std::string what =
        absl::StrCat("round ", round, ": ", shape.num_heads, " heads of ", shape.value_dim, " x ",
                     shape.key_dim, ", ", buffered, " buffered, ", drafts, " drafts");
    Sequence reference = fresh;
    for (uint32_t t = 0; t < buffered; ++t) reference.Decode(0, t, t + 1, true);
    reference.Decode(0, buffered, buffered + drafts, true);
    EXPECT_LE(reference.AnswerError(), 1e-6) << what << ", the reference";
    ForEachTarget([&] {
      Sequence sequence = fresh;
      for (uint32_t t = 0; t < buffered; ++t) sequence.Decode(0, t, t + 1);
      sequence.Decode(0, buffered, buffered + drafts);
      ASSERT_LE(sequence.AnswerError(), kFoldBound) << what;
      for (const uint32_t accepted : {0u, 1u, drafts / 2, drafts}) {
        if (buffered + accepted == 0) continue;
        Sequence prefix = sequence;
        ASSERT_TRUE(prefix.Commit(0, buffered + accepted).ok());
        EXPECT_LE(prefix.StateError(buffered + accepted), kFoldBound) << what;
      }
      Sequence none = sequence;
      if (none.state().empty()) return;
      ASSERT_TRUE(none.Commit(0, 0).ok());
      EXPECT_EQ(none.state(), sequence.state()) << what;
    });
  }
}

// The longest window: 200 buffered tokens, found by rounds of 8, and 56 new ones.
TEST(Decode, TheLongestWindowEqualsTheRecurrence) {
  std::mt19937_64 random(76);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 1, 48, 16};
    for (const DecayKind decay : kDecayKinds) {
      for (const bool similar_keys : {false, true}) {
        const Sequence fresh(shape, kMaxDecodeTokens,
                             {.decay = decay, .similar_keys = similar_keys}, false, random);
        ForEachTarget([&] {
          Sequence sequence = fresh;
          for (uint32_t t = 0; t < 200; t += 8) sequence.Decode(0, t, t + 8);
          sequence.Decode(0, 200, kMaxDecodeTokens);
          EXPECT_LE(sequence.AnswerError(), kFoldBound)
              << "recurrence " << int(recurrence) << " decay " << int(decay)
              << (similar_keys ? " similar keys" : "");
          ASSERT_TRUE(sequence.Commit(0, kMaxDecodeTokens).ok());
          EXPECT_LE(sequence.StateError(kMaxDecodeTokens), kFoldBound)
              << "recurrence " << int(recurrence) << " decay " << int(decay)
              << (similar_keys ? " similar keys" : "");
        });
      }
    }
  }
}

// A rejected draft leaves nothing behind: the next answer is as if it had never been.
TEST(Decode, RejectedDraftsAreForgotten) {
  std::mt19937_64 random(73);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 2, 32, 16};
    Sequence sequence(shape, 12, {}, false, random);
    for (uint32_t t = 0; t < 3; ++t) sequence.Decode(0, t, t + 1);
    std::fill(sequence.u().begin() + 3 * 32, sequence.u().end(), 1e20f);  // a draft's
    sequence.Decode(0, 3, 11);
    ASSERT_TRUE(sequence.Commit(0, 5).ok());
    EXPECT_LE(sequence.StateError(5), kFoldBound);
    std::fill(sequence.u().begin() + 5 * 32, sequence.u().end(), 1e20f);
    sequence.Decode(5, 5, 12);
    EXPECT_LE(sequence.AnswerError(), kFoldBound);
  }
}

TEST(Decode, ABatchMixesBuffersAndDrafts) {
  std::mt19937_64 random(74);
  for (const Recurrence recurrence : kRecurrences) {
    const RecurrenceShape shape{recurrence, 2, 2, 48, 16};
    const uint32_t buffered[] = {0, 5, 17, 3}, drafts[] = {1, 9, 4, 0};
    std::vector<Sequence> sequences;
    std::vector<std::vector<float>> out;
    std::vector<DecodeItem> items;
    std::vector<double> alone;
    for (size_t i = 0; i < 4; ++i) {
      sequences.emplace_back(shape, buffered[i] + drafts[i], TokenOptions(), false, random);
      for (uint32_t t = 0; t < buffered[i]; ++t) sequences[i].Decode(0, t, t + 1);
      out.emplace_back(drafts[i] * 32, std::nanf(""));
    }
    for (size_t i = 0; i < 4; ++i) {
      items.push_back(sequences[i].Item(0, buffered[i], buffered[i] + drafts[i], out[i].data()));
    }
    std::vector<float> scratch(DecodeScratchFloats(shape));
    ASSERT_TRUE(Decode({.shape = shape, .items = items, .scratch = scratch}).ok());
    for (size_t i = 0; i < 4; ++i) {
      if (drafts[i] == 0) continue;
      std::vector<float> one(out[i].size());
      const DecodeItem item =
          sequences[i].Item(0, buffered[i], buffered[i] + drafts[i], one.data());
      ASSERT_TRUE(Decode({.shape = shape, .items = {&item, 1}, .scratch = scratch}).ok());
      EXPECT_EQ(one, out[i]) << "item " << i << " as if it were alone";
      sequences[i].Decode(0, buffered[i], buffered[i] + drafts[i]);
      EXPECT_LE(sequences[i].AnswerError(), kFoldBound);
    }
  }
}

class DecodeRefusals : public ::testing::Test {
 protected:
  DecodeRefusals() : random_(75), sequence_(shape_, 6, {}, false, random_) {
    out_.assign(4 * 64, 5.0f);
    scratch_.resize(std::max(DecodeScratchFloats(shape_), FoldScratchFloats(shape_)));
    item_ = sequence_.Item(0, 2, 6, out_.data());
  }

  void Expect(absl::string_view message) {
    const absl::Status status =
        Decode({.shape = shape_, .items = {&item_, 1}, .scratch = scratch_});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(message)));
    EXPECT_EQ(out_, std::vector<float>(out_.size(), 5.0f)) << "nothing is written";
  }

  RecurrenceShape shape_{Recurrence::kGatedDelta, 4, 2, 16, 16};
  std::mt19937_64 random_;
  Sequence sequence_;
  std::vector<float> out_, scratch_;
  DecodeItem item_;
};

TEST_F(DecodeRefusals, FieldsByName) {
  const DecodeItem good = item_;
  item_.q.data = nullptr, Expect("decode: item 0: q is null"), item_ = good;
  item_.k.data = nullptr, Expect("k is null"), item_ = good;
  item_.v.data = nullptr, Expect("v is null"), item_ = good;
  item_.decay.log.data = nullptr, Expect("decay is null"), item_ = good;
  item_.weight.type = static_cast<ElementType>(7), Expect("weight has elements"), item_ = good;
  item_.u = nullptr, Expect("u or out is null"), item_ = good;
  item_.out = nullptr, Expect("u or out is null"), item_ = good;
  item_.u_token_stride = 63, Expect("token strides are 63 of u and 64 of out"), item_ = good;
  item_.out_token_stride = 63, Expect("64 of u and 63 of out"), item_ = good;
  item_.num_new = 255, Expect("2 buffered and 255 new tokens; at most 256"), item_ = good;
  item_.num_buffered = 0xffffffff, Expect("at most 256"), item_ = good;
  shape_.key_dim = 0, Expect("key_dim 0, value_dim 16");
}

TEST_F(DecodeRefusals, ScratchThatIsTooSmall) {
  scratch_.resize(DecodeScratchFloats(shape_) - 1);
  Expect("decode: scratch of ");
}

TEST_F(DecodeRefusals, CommitsAsFolds) {
  const std::vector<float> before = sequence_.state();
  const auto expect = [&](const CommitItem& item, size_t scratch, const char* message) {
    const absl::Status status = Commit(
        {.shape = shape_, .items = {&item, 1}, .scratch = std::span(scratch_).first(scratch)});
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(before, sequence_.state()) << "nothing is written";
  };
  const CommitItem good{.state = sequence_.state().data(),
                        .num_tokens = 2,
                        .k = item_.k,
                        .decay = item_.decay,
                        .u = sequence_.u().data(),
                        .u_token_stride = 64};
  CommitItem bad = good;
  bad.state = nullptr, expect(bad, scratch_.size(), "commit: item 0: "), bad = good;
  bad.k.data = nullptr, expect(bad, scratch_.size(), "k is null"), bad = good;
  bad.u = nullptr, expect(bad, scratch_.size(), "commit: item 0: u is null"), bad = good;
  bad.u_token_stride = 0, expect(bad, scratch_.size(), "the token stride of u is 0"), bad = good;
  bad.u_token_stride = 1, expect(bad, scratch_.size(), "the token stride of u is 1"), bad = good;
  expect(good, 10, "scratch of 10 floats");
  bad = CommitItem{.num_tokens = 0};
  EXPECT_TRUE(Commit({.shape = shape_, .items = {&bad, 1}, .scratch = scratch_}).ok())
      << "no token";
  shape_.num_heads = 0;
  expect(good, scratch_.size(), "0 heads");
}

}  // namespace
}  // namespace cistern::kernels
