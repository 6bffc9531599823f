// Workers that run at once, and the time of all.
#include "tools/bench/crew.h"

#include <latch>
#include <thread>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

TEST(RunCrewTest, AllWorkersRunAtOnce) {
  std::latch together(3);  // would never open for one after another
  const auto took = RunCrew(3, [&together](uint32_t) {
    together.arrive_and_wait();
    return absl::OkStatus();
  });
  ASSERT_TRUE(took.ok());
  EXPECT_GT(*took, absl::ZeroDuration());
}

TEST(RunCrewTest, OneWorkerIsTheCallersThread) {
  std::thread::id worker;
  ASSERT_TRUE(RunCrew(1, [&worker](uint32_t) {
                worker = std::this_thread::get_id();
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(worker, std::this_thread::get_id());
}

TEST(RunCrewTest, OnesErrorIsTheCrews) {
  const auto took = RunCrew(3, [](uint32_t worker) {
    return worker == 2 ? absl::UnavailableError("gone") : absl::OkStatus();
  });
  EXPECT_EQ(took.status(), absl::UnavailableError("gone"));
}

}  // namespace
}  // namespace cistern::tools
