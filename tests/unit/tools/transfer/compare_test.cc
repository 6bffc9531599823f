// The loop of a measurement: what is called how often, what is counted, what ends it.
#include "tools/bench/transfer/compare.h"

#include <string>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

struct Log {
  std::string text;
  Comparison Of(uint32_t operations, uint32_t rounds) {
    const auto note = [this](char c) {
      return [this, c](uint32_t i) {
        text += c;
        text += static_cast<char>('0' + i);
        return absl::OkStatus();
      };
    };
    Comparison what{.bytes = 1000, .operations = operations, .rounds = rounds};
    what.prepare = [this] { return text += '(', absl::OkStatus(); };
    what.path = note('p');
    what.limit = note('l');
    what.check = [this]() -> absl::StatusOr<uint64_t> { return text += ')', 7; };
    return what;
  }
};

TEST(CompareTest, RoundsAlternateAndTheFirstIsNotCounted) {
  CacheSweep sweep;
  Log log;
  const auto line = Compare(log.Of(2, 2), sweep);
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(log.text, "(l0l1p0p1)(p0p1l0l1)(l0l1p0p1)");
  EXPECT_EQ(line->rounds, 2u);
  EXPECT_EQ(line->operations, 4u);
  EXPECT_EQ(line->bytes, 1000u);
  EXPECT_EQ(line->verified_bytes, 21u);  // the warm-up's, too
  EXPECT_GT(line->gbps, 0);
  EXPECT_GT(line->limit_gbps, 0);
  EXPECT_DOUBLE_EQ(line->ratio(), line->gbps / line->limit_gbps);
  EXPECT_EQ(line->stream_gbps, 0);
}

TEST(CompareTest, AStreamIsTimedOnceARound) {
  CacheSweep sweep;
  Log log;
  Comparison what = log.Of(1, 1);
  what.stream = [&] { return log.text += 's', absl::OkStatus(); };
  what.warm_up = false;
  const auto line = Compare(what, sweep);
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(log.text, "(p0l0s)");
  EXPECT_GT(line->stream_gbps, 0);
}

TEST(CompareTest, AnyErrorEndsIt) {
  CacheSweep sweep;
  const absl::Status bad = absl::DataLossError("wrong bytes");
  for (int which = 0; which < 5; ++which) {
    Log log;
    Comparison what = log.Of(1, 3);
    if (which == 0) what.prepare = [&] { return bad; };
    if (which == 1) what.path = [&](uint32_t) { return bad; };
    if (which == 2) what.limit = [&](uint32_t) { return bad; };
    if (which == 3) what.stream = [&] { return bad; };
    if (which == 4) what.check = [&]() -> absl::StatusOr<uint64_t> { return bad; };
    EXPECT_EQ(Compare(what, sweep).status(), bad) << which;
  }
}

TEST(CompareTest, SmallOperationsAreManyLargeOnesOne) {
  EXPECT_EQ(OperationsFor(4096), 64u);
  EXPECT_EQ(OperationsFor(4 << 20), 4u);
  EXPECT_EQ(OperationsFor(64 << 20), 1u);
}

}  // namespace
}  // namespace cistern::tools
