// What a replay's report tells, and what it leaves out.
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/replay.h"

namespace cistern::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

ReplayReport GoodRun() {
  ReplayReport report;
  report.calls = 2;
  report.prompt_tokens = 1000;
  report.bound_tokens = 500;
  report.content_tokens = 400;
  report.computed_tokens = 600;
  report.bytes_fetched = 1 << 20;
  report.fetch_gbps = 2;
  report.memcpy_gbps = 4;
  return report;
}

TEST(ReportTest, AGoodRunNamesNoFailure) {
  const std::string text = ToTable(GoodRun());
  EXPECT_THAT(text, Not(HasSubstr("failed")));
  EXPECT_THAT(text, Not(HasSubstr("lossless")));  // nothing is exact
  EXPECT_THAT(text, Not(HasSubstr("room")));
  EXPECT_THAT(text, HasSubstr("2.00 GB/s (memcpy in this run 4.00: ratio 0.50)"));
}

TEST(ReportTest, SaysHowMuchMovedAndHowFar) {
  ReplayReport report = GoodRun();
  report.moved_tokens = 300;
  report.moved_furthest = 12345;
  EXPECT_THAT(ToTable(report), HasSubstr("300 tokens moved, by up to 12,345 positions"));
}

TEST(ReportTest, LosslessIsSaidWhereSomethingIsExact) {
  ReplayReport report = GoodRun();
  report.exact_tokens = report.lossless_tokens = 100;
  EXPECT_THAT(ToTable(report), HasSubstr("same past; all lossless"));
  report.lossless_tokens = 50;
  EXPECT_THAT(ToTable(report), HasSubstr("5.00 % lossless, the rest behind content reuse"));
}

TEST(ReportTest, NothingFetchedHasNoSpeed) {
  ReplayReport report = GoodRun();
  report.bytes_fetched = 0;
  EXPECT_THAT(ToTable(report), HasSubstr("- (nothing was fetched; memcpy in this run 4.00 GB/s)"));
}

TEST(ReportTest, FailuresHaveTheirFirstReason) {
  ReplayReport report = GoodRun();
  report.failed_plans = 3;
  report.first_plan_error = "UNAVAILABLE: a";
  report.first_fetch_error = "INTERNAL: b";
  report.first_publish_error = "DEADLINE_EXCEEDED: c";
  for (const std::string& text : {ToTable(report), ToJson(report)}) {
    EXPECT_THAT(text, HasSubstr("UNAVAILABLE: a"));
    EXPECT_THAT(text, HasSubstr("INTERNAL: b"));
    EXPECT_THAT(text, HasSubstr("DEADLINE_EXCEEDED: c"));
  }
}

TEST(ReportTest, DroppedSegmentsHaveAReason) {
  ReplayReport report = GoodRun();
  report.segments_dropped = 7;
  EXPECT_THAT(ToTable(report), HasSubstr("7 dropped: larger than the pool can hold"));
  report.node_no_room = 7;
  EXPECT_THAT(ToTable(report), HasSubstr("7 dropped: no room in the pool"));
  report.node_gone = "UNAVAILABLE: killed";
  EXPECT_THAT(ToTable(report), HasSubstr("7 dropped: the node is gone"));
  EXPECT_THAT(ToTable(report), HasSubstr("node: gone: UNAVAILABLE: killed"));
}

TEST(ReportTest, TellsWhatTheNodeLost) {
  ReplayReport report = GoodRun();
  report.node_evicted_objects = 12;
  report.node_dropped_objects = 11;
  report.node_write_failures = 5;
  EXPECT_THAT(ToTable(report), HasSubstr("12 objects; 11 objects are gone altogether"));
  EXPECT_THAT(ToTable(report), HasSubstr("disk write errors      5"));
}

}  // namespace
}  // namespace cistern::tools
