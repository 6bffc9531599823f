// The loop of rounds: who goes when, on how many threads, and what ends it.
#include "tools/bench/peers/side_by_side.h"

#include <array>
#include <atomic>
#include <string>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

TEST(SideBySideTest, TheOrderOfSidesAlternatesAndAllElseIsOutsideOfTheRun) {
  std::string log;
  const auto write = [&log](const char* what) {
    return [&log, what] {
      log += what;
      return absl::OkStatus();
    };
  };
  SideBySide what{.bytes = 1, .operations = 2, .rounds = 2, .prepare = write("\n")};
  for (const char* name : {"a", "b", "c"}) {
    Side side{.ready = write("<"), .check = write(">")};
    side.run = [&log, name](uint32_t, uint32_t) {
      log += name;
      return absl::OkStatus();
    };
    what.sides.push_back(side);
  }
  CacheSweep sweep;
  const auto gbps = MeasureSides(what, sweep);
  ASSERT_TRUE(gbps.ok()) << gbps.status();
  EXPECT_EQ(log, "\n<aa><bb><cc>\n<cc><bb><aa>\n<aa><bb><cc>");
  ASSERT_EQ(gbps->size(), 3u);
  for (const double side : *gbps) EXPECT_GT(side, 0);
}

TEST(SideBySideTest, EachWorkerDoesItsOwnOperations) {
  std::array<std::array<std::atomic<int>, 3>, 4> done = {};
  SideBySide what{.bytes = 1, .workers = 4, .operations = 3, .rounds = 1};
  Side side{.check = [] { return absl::OkStatus(); }};
  side.run = [&done](uint32_t worker, uint32_t operation) {
    ++done[worker][operation];
    return absl::OkStatus();
  };
  what.sides.push_back(side);
  CacheSweep sweep;
  ASSERT_TRUE(MeasureSides(what, sweep).ok());
  for (const auto& operations : done) {
    for (const std::atomic<int>& count : operations) EXPECT_EQ(count, 2);  // with the warm-up
  }
}

TEST(SideBySideTest, AnyPartsErrorEndsTheRun) {
  for (const std::string where : {"prepare", "ready", "run", "check"}) {
    const auto answer = [&where](const char* part) {
      return where == part ? absl::DataLossError(part) : absl::OkStatus();
    };
    SideBySide what{.bytes = 1, .workers = 2, .prepare = [&] { return answer("prepare"); }};
    Side side{.ready = [&] { return answer("ready"); }, .check = [&] { return answer("check"); }};
    side.run = [&](uint32_t worker, uint32_t) {
      return worker == 1 ? answer("run") : absl::OkStatus();
    };
    what.sides.push_back(side);
    CacheSweep sweep;
    EXPECT_EQ(MeasureSides(what, sweep).status(), absl::DataLossError(where));
  }
}

}  // namespace
}  // namespace cistern::tools
