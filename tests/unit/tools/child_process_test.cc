// A server of the bench: it starts and answers, or it is said why not; it is ended.
#include "tools/bench/child_process.h"

#include <csignal>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/leftovers.h"

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

class ChildProcessTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<ChildProcess>> Run(const std::vector<std::string>& arguments) {
    return ChildProcess::Start({.name = "the server",
                                .arguments = arguments,
                                .log = (*scratch_)->path() + "/log",
                                .remedy = "install it"});
  }

  const absl::StatusOr<std::unique_ptr<ScratchDirectory>> scratch_ = ScratchDirectory::Make();
};

TEST_F(ChildProcessTest, AProgramThatIsNotThereComesWithTheRemedy) {
  const absl::Status status = Run({"/no/such/program"}).status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("cannot start '/no/such/program': No such file"));
  EXPECT_THAT(status.message(), HasSubstr("; install it"));
}

TEST_F(ChildProcessTest, OneThatEndsBeforeItAnswersIsQuoted) {
  auto child = Run({"/bin/sh", "-c", "echo no room; exit 5"});
  ASSERT_TRUE(child.ok()) << child.status();
  const absl::Status status = (*child)->AwaitAnswer([] { return false; }, absl::Seconds(30));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("the server stopped at once, exit code 5; it said:"));
  EXPECT_THAT(status.message(), HasSubstr("no room"));
  EXPECT_EQ((*child)->pid(), 0);
  (*child)->Stop(SIGTERM);  // nothing, and nobody else
}

TEST_F(ChildProcessTest, OneThatNeverAnswersIsGivenUp) {
  auto child = Run({"/bin/sleep", "600"});
  ASSERT_TRUE(child.ok()) << child.status();
  const absl::Status status = (*child)->AwaitAnswer([] { return false; }, absl::Milliseconds(30));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("the server did not answer within 30ms"));
}

TEST_F(ChildProcessTest, ItEndsWithItsOwner) {
  pid_t pid = 0;
  {
    auto child = Run({"/bin/sleep", "600"});
    ASSERT_TRUE(child.ok()) << child.status();
    EXPECT_TRUE((*child)->AwaitAnswer([] { return true; }, absl::Seconds(1)).ok());
    EXPECT_GT((*child)->ResidentBytes(), 0u);
    pid = (*child)->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

}  // namespace
}  // namespace cistern::tools
