#include "tools/bench/repo_workload.h"

#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/reuse_bound.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

class RepoWorkloadTest : public ::testing::Test {
 protected:
  RepoWorkloadTest() {
    fs::create_directories(root_ / "src");
    for (int i = 0; i < 10; ++i) {
      std::ofstream file(root_ / "src" / ("f" + std::to_string(i) + ".cc"));
      for (int line = 0; line < 60; ++line)
        file << "int value_" << i << "_" << line << " = " << i * line << ";\n";
    }
  }
  ~RepoWorkloadTest() override { fs::remove_all(root_); }

  const fs::path root_ =
      fs::temp_directory_path() / ("cistern-repo-workload-" + std::to_string(getpid()));
};

TEST_F(RepoWorkloadTest, EveryCallShiftsAndMostOfItHasBeenSeen) {
  const auto trace = MakeRepoWorkload({.root = root_.string(), .calls = 20, .files_per_call = 4});
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->calls.size(), 20u);
  ReuseBound bound;
  uint64_t tokens = 0, covered = 0;
  for (const Call& call : trace->calls) {
    const auto prompt = call.Tokens();
    tokens += prompt.size();
    covered += bound.Add(prompt);
  }
  EXPECT_NE(*trace->calls[0].parts[0], *trace->calls[1].parts[0])
      << "the header changes in every call";
  EXPECT_GT(covered, tokens / 2);
  EXPECT_LT(covered, tokens);
}

TEST_F(RepoWorkloadTest, IsTheSameEveryTime) {
  const RepoWorkloadOptions options{.root = root_.string(), .calls = 5};
  const auto a = MakeRepoWorkload(options), b = MakeRepoWorkload(options);
  ASSERT_TRUE(a.ok() && b.ok());
  for (size_t i = 0; i < a->calls.size(); ++i)
    EXPECT_EQ(a->calls[i].Tokens(), b->calls[i].Tokens());
}

// Every call of a session begins with its last call's prompt and answer.
TEST_F(RepoWorkloadTest, SessionsOnlyGrow) {
  const auto trace = MakeSessionWorkload({.root = root_.string(), .calls = 14, .sessions = 3});
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->calls.size(), 14u);
  for (size_t i = 3; i < trace->calls.size(); ++i) {
    const auto before = trace->calls[i - 3].Sequence(), now = trace->calls[i].Tokens();
    ASSERT_GT(now.size(), before.size());
    EXPECT_TRUE(std::equal(before.begin(), before.end(), now.begin())) << i;
    EXPECT_GT(trace->calls[i].Sequence().size(), now.size());
  }
  EXPECT_EQ(trace->calls[0].parts[1], trace->calls[2].parts[1]);  // a file that two begin with
  EXPECT_NE(trace->calls[0].Tokens(), trace->calls[2].Tokens());
  EXPECT_EQ(MakeSessionWorkload({.root = "/nonexistent"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(RepoWorkloadTest, AnEmptyTreeIsAnError) {
  EXPECT_EQ(MakeRepoWorkload({.root = "/nonexistent"}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(TokenizeTest, EqualTextGivesEqualTokens) {
  EXPECT_EQ(*Tokenize("int main(x)"), *Tokenize("int main(x)"));
  EXPECT_EQ(Tokenize("int main(x)")->size(), 5u);  // int, main, (, x, )
  EXPECT_NE(*Tokenize("a b"), *Tokenize("a\nb"));
  EXPECT_TRUE(Tokenize("")->empty());
}

}  // namespace
}  // namespace cistern::tools
