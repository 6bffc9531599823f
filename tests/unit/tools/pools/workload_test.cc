#include "tools/bench/pools/workload.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/pools/synthetic_workload.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kHead[] = "request,arrival_tick,prompt_tokens,generated_tokens\n";

std::string ErrorOf(const std::string& lines) {
  const absl::Status status = ParsePoolRequests("w.csv", kHead + lines).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(PoolWorkloadTest, ReadsRequests) {
  const auto requests = ParsePoolRequests("w.csv", std::string(kHead) + "0,3,10,2\r\n1,3,11,0\n\n");
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_THAT(*requests, ElementsAre(PoolRequest{3, 10, 2}, PoolRequest{3, 11, 0}));
  EXPECT_EQ((*requests)[0].ticks(), 12u);
}

TEST(PoolWorkloadTest, BadLinesAreNamed) {
  EXPECT_THAT(ErrorOf("0,3,10\n"), HasSubstr("w.csv:2: four whole numbers"));
  EXPECT_THAT(ErrorOf("0,3,10,x\n"), HasSubstr("w.csv:2"));
  EXPECT_THAT(ErrorOf("0,3,10,-1\n"), HasSubstr("w.csv:2"));
  EXPECT_THAT(ErrorOf("0,3,10,1\n2,3,10,1\n"), HasSubstr("w.csv:3: request 1 is expected"));
  EXPECT_THAT(ErrorOf("0,3,10,1\n1,2,10,1\n"), HasSubstr("w.csv:3: it arrives before"));
  EXPECT_THAT(ErrorOf("0,3,0,1\n"), HasSubstr("a prompt has 1 to"));
  EXPECT_THAT(ErrorOf("0,3,4000000000,1\n"), HasSubstr("a prompt has 1 to"));
  EXPECT_THAT(ErrorOf("\n"), HasSubstr("no requests"));
  EXPECT_THAT(ParsePoolRequests("w.csv", "a,b\n0,1,2,3\n").status().message(),
              HasSubstr("w.csv:1"));
}

TEST(PoolWorkloadTest, SyntheticOnesHaveTheirShapes) {
  const auto uniform = MakeSyntheticWorkload("uniform_short", 0);
  ASSERT_TRUE(uniform.ok()) << uniform.status();
  EXPECT_EQ(uniform->requests.size(), 512u);
  EXPECT_EQ(uniform->requests[0], (PoolRequest{0, 552, 90}));
  EXPECT_EQ(uniform->requests[1], (PoolRequest{1, 587, 67}));
  const auto mixed = MakeSyntheticWorkload("mixed_long", 0);
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ(mixed->requests[0], (PoolRequest{0, 1515, 132}));
  EXPECT_EQ(mixed->requests[1], (PoolRequest{1, 1470, 478}));
  const auto agentic = MakeSyntheticWorkload("agentic_burst", 0);
  ASSERT_TRUE(agentic.ok()) << agentic.status();
  EXPECT_EQ(agentic->requests[0], (PoolRequest{1, 5770, 126}));
  EXPECT_EQ(agentic->requests[1], (PoolRequest{1, 9147, 112}));
  EXPECT_NE(agentic->requests, MakeSyntheticWorkload("agentic_burst", 1)->requests);
  EXPECT_EQ(MakeSyntheticWorkload("other", 0).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PoolWorkloadTest, FilesComeBeforeDrawsAndAMissingReplayIsAnError) {
  const auto drawn = PaperWorkloads("");
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  EXPECT_EQ(drawn->size(), 9u);
  const std::string directory = testing::TempDir() + "/pool_workloads";
  std::filesystem::create_directories(directory);
  auto write = [&](const std::string& name, const std::string& lines) {
    std::ofstream(directory + "/" + name) << kHead << lines;
  };
  write("mixed_long_1.csv", "0,0,1,1\n");
  EXPECT_THAT(PaperWorkloads(directory).status().message(), HasSubstr("sharegpt_replay_0.csv"));
  EXPECT_EQ(PaperWorkloads(directory).status().code(), absl::StatusCode::kNotFound);
  for (const char* name :
       {"sharegpt_replay_0.csv", "sharegpt_replay_1.csv", "sharegpt_replay_2.csv"})
    write(name, "0,7,2,2\n");
  const auto mixed = PaperWorkloads(directory);
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  ASSERT_EQ(mixed->size(), 12u);
  EXPECT_EQ((*mixed)[3].requests, (*drawn)[3].requests);
  EXPECT_THAT((*mixed)[4].requests, ElementsAre(PoolRequest{0, 1, 1}));
  EXPECT_THAT((*mixed)[11].requests, ElementsAre(PoolRequest{7, 2, 2}));
  write("uniform_short_2.csv", "nonsense\n");
  EXPECT_EQ(PaperWorkloads(directory).status().code(), absl::StatusCode::kInvalidArgument);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace cistern::tools
