// The line about what has moved comes when something has, not more often than it should.
#include "cacheserver/summary.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;

class SummaryTest : public testing::Test {
 protected:
  // What is logged `seconds` after the start.
  std::string After(int seconds) {
    out_.str("");
    summary_.Update(stats_, absl::UnixEpoch() + absl::Seconds(seconds));
    return out_.str();
  }
  std::ostringstream out_;
  Log log_{"info", LogFormat::kText, &out_};
  Summary summary_{&log_};
  storage::StoreStats stats_;
};

TEST_F(SummaryTest, SaysWhatHasChangedSinceTheLastLine) {
  EXPECT_EQ(After(0), "") << "nothing has happened";
  stats_.evicted_objects = 5;
  stats_.expired_objects = 2;
  stats_.tenants = {{.over_quota = 3}, {.over_quota = 4}};
  EXPECT_EQ(After(29), "") << "too early";
  EXPECT_THAT(After(30), testing::AllOf(HasSubstr("evicted=5"), HasSubstr("expired=2"),
                                        HasSubstr("over_quota=7")));
  EXPECT_EQ(After(60), "");
  stats_.tenants[1].over_quota = 5;
  EXPECT_THAT(After(90), testing::AllOf(HasSubstr("evicted=0"), HasSubstr("over_quota=1")));
  stats_.expired_objects = 3;
  EXPECT_THAT(After(120), HasSubstr("expired=1"));
}

}  // namespace
}  // namespace cistern::cacheserver
