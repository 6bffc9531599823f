// Where each scheme stores states, and what a log needs for them.
#include "tools/bench/state_scheme.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/model_presets.h"

namespace cistern::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint32_t kWanted[] = {700};

TEST(StateSchemeTest, NamesAndAll) {
  EXPECT_THAT(*ParseStateSchemes("log"), ElementsAre(StateScheme::kLog));
  EXPECT_THAT(*ParseStateSchemes("all"), ElementsAre(StateScheme::kMultiples, StateScheme::kEnds,
                                                     StateScheme::kBranches, StateScheme::kLog));
  const std::vector<StateScheme> all = *ParseStateSchemes("all");
  for (const StateScheme scheme : all) {
    EXPECT_THAT(*ParseStateSchemes(ToString(scheme)), ElementsAre(scheme));
  }
  EXPECT_THAT(ParseStateSchemes("some").status().message(),
              HasSubstr("unknown --scheme 'some'; there are: multiples, ends, branches, log, all"));
}

TEST(StateSchemeTest, Points) {
  EXPECT_THAT(StatePoints(StateScheme::kMultiples, 512, kWanted, 1600), ElementsAre(1024, 1536));
  EXPECT_THAT(StatePoints(StateScheme::kMultiples, 0, kWanted, 511), IsEmpty());
  EXPECT_THAT(StatePoints(StateScheme::kMultiples, 0, kWanted, 512), ElementsAre(512));
  EXPECT_THAT(StatePoints(StateScheme::kEnds, 512, kWanted, 1600), ElementsAre(1600));
  EXPECT_THAT(StatePoints(StateScheme::kEnds, 1600, kWanted, 1600), IsEmpty());
  EXPECT_THAT(StatePoints(StateScheme::kBranches, 512, kWanted, 1600), ElementsAre(700, 1600));
  EXPECT_THAT(StatePoints(StateScheme::kBranches, 700, kWanted, 1600), ElementsAre(1600));
  EXPECT_THAT(StatePoints(StateScheme::kLog, 512, kWanted, 700), ElementsAre(700));
}

TEST(StateSchemeTest, LogsAreKeptUpToTheBreakEven) {
  const base::StateSpec state = base::ModelPreset("qwen3-next")->state;
  EXPECT_EQ(LongestLog(StateScheme::kLog, state), 167u);
  EXPECT_EQ(LongestLog(StateScheme::kBranches, state), 0u);
}

TEST(StateSchemeTest, LogRanges) {
  const auto range = [](uint32_t resumed, std::vector<uint32_t> points, uint32_t longest) {
    const LogRange range = LogRangeOf(resumed, points, longest);
    return std::pair(range.begin, range.end);
  };
  EXPECT_EQ(range(1000, {1050, 1100}, 60), std::pair(1000u, 1100u));
  EXPECT_EQ(range(1000, {1050, 1200}, 60), std::pair(1000u, 1050u));
  EXPECT_EQ(range(1000, {1100, 1150}, 60), std::pair(1100u, 1150u));
  EXPECT_EQ(range(1000, {1100, 1200}, 60), std::pair(0u, 0u));
  EXPECT_EQ(range(1000, {1050}, 0), std::pair(0u, 0u));
  EXPECT_EQ(range(0, {50}, 60), std::pair(0u, 0u));  // nothing to continue
  EXPECT_EQ(range(1000, {}, 60), std::pair(0u, 0u));
}

}  // namespace
}  // namespace cistern::tools
