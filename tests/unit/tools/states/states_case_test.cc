#include "tools/bench/states/states_case.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/states/states_work.h"

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

TEST(StatesCaseTest, EveryFamilyIsFoldedAndAllButMamba1Answer) {
  const auto cases = ParseStatesCases("fold, decode,verify", 32);
  ASSERT_TRUE(cases.ok()) << cases.status();
  std::set<std::string> folded, decoded, verified;
  for (const StatesCase& c : *cases) {
    EXPECT_EQ(c.batch, 32u);
    (c.kernel == StatesKernel::kFold     ? folded
     : c.kernel == StatesKernel::kDecode ? decoded
                                         : verified)
        .insert(c.layer.family);
  }
  EXPECT_EQ(folded.size(), 6u);
  EXPECT_EQ(decoded.size(), 5u);
  EXPECT_EQ(decoded, verified);
}

// The published sizes of one layer's float32 state.
TEST(StatesCaseTest, StatesHaveTheModelsSizes) {
  const auto cases = ParseStatesCases("fold", 1);
  ASSERT_TRUE(cases.ok());
  for (const StatesCase& c : *cases) {
    const uint64_t bytes = c.layer.model == "nemotron-h-8b" || c.layer.model == "minimax-text-01"
                               ? 4194304
                           : c.layer.model == "jamba-1.5-mini" ? 524288
                                                               : 2097152;
    EXPECT_EQ(c.layer.state_bytes(), bytes) << c.layer.model;
    EXPECT_EQ(SequencesOf(c, 8 << 20) * bytes, 8u << 20) << c.layer.model;
  }
}

TEST(StatesCaseTest, RefusalsNameTheFlag) {
  const auto expect = [](absl::string_view kernels, uint32_t batch, const char* message) {
    const absl::Status status = ParseStatesCases(kernels, batch).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(message));
  };
  expect("fold,melt", 1, "--kernels: there is no 'melt'; there are fold, decode, verify");
  expect("", 1, "--kernels names none");
  expect("fold", 0, "--batch: from 1 to 256");
  expect("fold", 257, "--batch: from 1 to 256");
}

}  // namespace
}  // namespace cistern::tools
