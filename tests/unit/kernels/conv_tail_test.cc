// ConvTail: by hand, the fast form against the reference, in parts, in place, and each refusal.
#include "kernels/conv_tail/conv_tail.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ConvTailLayout kLayouts[] = {ConvTailLayout::kTokenMajor, ConvTailLayout::kChannelMajor};

// Two channels, width 3; inputs have a gap behind each token.
ConvTailParams Small(ConvTailLayout layout, const std::vector<uint16_t>& tail,
                     const std::vector<uint16_t>& inputs, std::vector<uint16_t>& out) {
  out.assign(6, 99);
  return {.layout = layout,
          .width = 3,
          .channels = 2,
          .element_bytes = 2,
          .tail_in = tail.empty() ? nullptr : Bytes(tail),
          .tail_out = Bytes(out),
          .inputs = Bytes(inputs),
          .input_stride = 6,
          .num_tokens = static_cast<uint32_t>(inputs.size() / 3)};
}

TEST(ConvTail, TheLastInputsOldestFirst) {
  const std::vector<uint16_t> inputs = {41, 42, 0, 51, 52, 0};
  std::vector<uint16_t> out;
  ASSERT_TRUE(ConvTail(Small(kLayouts[0], {11, 12, 21, 22, 31, 32}, inputs, out)).ok());
  EXPECT_THAT(out, ElementsAre(31, 32, 41, 42, 51, 52));
  ASSERT_TRUE(ConvTail(Small(kLayouts[1], {11, 21, 31, 12, 22, 32}, inputs, out)).ok());
  EXPECT_THAT(out, ElementsAre(31, 41, 51, 32, 42, 52));
  ASSERT_TRUE(ConvTail(Small(kLayouts[0], {}, inputs, out)).ok());
  EXPECT_THAT(out, ElementsAre(0, 0, 41, 42, 51, 52)) << "no tail is zeros";
  ASSERT_TRUE(ConvTail(Small(kLayouts[1], {11, 21, 31, 12, 22, 32}, {}, out)).ok());
  EXPECT_THAT(out, ElementsAre(11, 21, 31, 12, 22, 32)) << "no token: a copy";
}

TEST(ConvTail, FastFormsEqualTheReferenceAlsoInPlaceAndInParts) {
  std::mt19937_64 random(61);
  for (int round = 0; round < 200; ++round) {
    ConvTailParams params{.layout = kLayouts[round % 2],
                          .width = Pick(0, 5, random),
                          .channels = Pick(0, 40, random),
                          .element_bytes = round % 4 < 2 ? 2u : 4u,
                          .num_tokens = Pick(0, 9, random)};
    const size_t row = size_t{params.channels} * params.element_bytes;
    params.input_stride = row + Pick(0, 3, random);
    const std::vector<std::byte> tail = RandomBytes(params.width * row, random);
    const std::vector<std::byte> inputs =
        RandomBytes(params.num_tokens * params.input_stride, random);
    std::vector<std::byte> expected(tail.size()), whole(tail.size()), parts = tail;
    params.inputs = inputs.data();
    params.tail_in = round % 7 == 0 ? nullptr : tail.data();
    params.tail_out = expected.data();
    ConvTailRef(params);
    params.tail_out = whole.data();
    ASSERT_TRUE(ConvTail(params).ok()) << ValidateConvTail(params);
    EXPECT_TRUE(whole == expected) << "round " << round;

    if (params.tail_in == nullptr) std::fill(parts.begin(), parts.end(), std::byte{0});
    const uint32_t cut = Pick(0, params.num_tokens, random), all = params.num_tokens;
    params.tail_in = params.tail_out = parts.data();
    params.num_tokens = cut;
    ASSERT_TRUE(ConvTail(params).ok());
    params.inputs = inputs.data() + cut * params.input_stride;
    params.num_tokens = all - cut;
    ASSERT_TRUE(ConvTail(params).ok());
    EXPECT_TRUE(parts == expected) << "round " << round << ", cut at " << cut;
  }
}

TEST(ConvTail, RefusalsNameTheField) {
  std::vector<uint16_t> out(6);
  const std::vector<uint16_t> tail = {1, 2, 3, 4, 5, 6}, inputs = {7, 8, 9};
  const ConvTailParams good = Small(kLayouts[0], tail, inputs, out);
  const auto expect = [&](ConvTailParams params, const char* message) {
    const absl::Status status = ConvTail(params);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << message;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
    EXPECT_EQ(out, std::vector<uint16_t>(6, 99)) << "nothing is written";
  };
  ConvTailParams bad = good;
  bad.layout = static_cast<ConvTailLayout>(5), expect(bad, "no such layout"), bad = good;
  bad.element_bytes = 3, expect(bad, "elements of 3 bytes"), bad = good;
  bad.width = 65, expect(bad, "width 65; at most 64"), bad = good;
  bad.tail_out = nullptr, expect(bad, "tail_out is null"), bad = good;
  bad.tail_in = bad.tail_out + 2, expect(bad, "overlap"), bad = good;
  bad.inputs = nullptr, expect(bad, "inputs is null"), bad = good;
  bad.input_stride = 3, expect(bad, "input_stride is 3; a token has 4 bytes");
}

}  // namespace
}  // namespace cistern::kernels
