// Unix sockets: whose path it is, and who may replace it.
#include "transport/shm/unix_socket.h"

#include <fstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"

#include "tests/unit/transport/test_service.h"
#include "tests/unit/transport/test_socket.h"

namespace cistern::transport {
namespace {

using absl::StatusCode;
using testing::HasSubstr;

class UnixSocketTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Server>> Start() {
    return StartServer({.unix_path = path_.path()}, &service_);
  }
  absl::StatusOr<std::unique_ptr<Link>> Connect() {
    return transport::Connect(absl::StrCat("unix:", path_.path()),
                              {.connect_timeout = absl::Seconds(5)});
  }
  bool Exists() const {
    struct stat file = {};
    return lstat(path_.path().c_str(), &file) == 0;
  }

  SocketPath path_;
  TestService service_;
};

TEST_F(UnixSocketTest, TwoServersOnOnePath) {
  auto first = Start();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ((*first)->unix_path(), path_.path());
  const auto second = Start();
  EXPECT_EQ(second.status().code(), StatusCode::kAlreadyExists) << second.status();
  EXPECT_TRUE(Connect().ok()) << "the first is unharmed";
  first->reset();
  EXPECT_FALSE(Exists());
  EXPECT_TRUE(Start().ok());
}

TEST_F(UnixSocketTest, ADeadServersSocketIsReplaced) {
  {
    auto bound = BindUnix(path_.path());
    ASSERT_TRUE(bound.ok()) << bound.status();
  }  // closed, and not unbound: as after SIGKILL
  ASSERT_TRUE(Exists());
  EXPECT_EQ(Connect().status().code(), StatusCode::kUnavailable);
  auto server = Start();
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Connect().ok());
}

TEST_F(UnixSocketTest, AFileThatIsNoSocketIsLeftAlone) {
  std::ofstream(path_.path()) << "precious";
  EXPECT_EQ(Start().status().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(Exists());
}

TEST_F(UnixSocketTest, OnlyOwnerAndGroupMayConnect) {
  const mode_t before = umask(0);
  auto server = Start();
  struct stat file = {};
  ASSERT_EQ(lstat(path_.path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0660);
  server->reset();
  umask(0077);
  server = Start();
  ASSERT_EQ(lstat(path_.path().c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0660) << "also under a narrow umask";
  umask(before);
}

TEST_F(UnixSocketTest, AStoppedServerDoesNotRemoveItsSuccessorsSocket) {
  auto first = Start();
  ASSERT_EQ(unlink(path_.path().c_str()), 0);  // somebody was impatient
  auto second = Start();
  ASSERT_TRUE(second.ok()) << second.status();
  first->reset();
  EXPECT_TRUE(Exists());
  EXPECT_TRUE(Connect().ok());
}

TEST_F(UnixSocketTest, PathsThatCannotBe) {
  const std::string long_path = path_.directory() + "/" + std::string(200, 'x');
  EXPECT_EQ(StartServer({.unix_path = long_path}, &service_).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(transport::Connect("unix:" + long_path, {}).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(transport::Connect("unix:", {}).status().code(), StatusCode::kInvalidArgument);
  const auto missing =
      StartServer({.unix_path = path_.directory() + "/no/such/node.sock"}, &service_);
  EXPECT_EQ(missing.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("create it first"));
}

TEST_F(UnixSocketTest, NobodyListens) {
  const auto link = Connect();
  EXPECT_EQ(link.status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(link.status().message()), HasSubstr(path_.path()));
}

TEST_F(UnixSocketTest, AFullBacklogIsWaitedForAndNoLonger) {
  auto bound = BindUnix(path_.path());  // accepts nobody
  std::vector<UniqueFd> waiting;
  absl::StatusOr<UniqueFd> fd;
  while ((fd = ConnectUnixSocket(path_.path(), absl::Milliseconds(20))).ok()) {
    waiting.push_back(*std::move(fd));
    ASSERT_LT(waiting.size(), 10'000);
  }
  EXPECT_EQ(fd.status().code(), StatusCode::kUnavailable);
  EXPECT_GT(waiting.size(), 100);
}

TEST_F(UnixSocketTest, ANodeThatNeverAnswersTheHello) {
  auto bound = BindUnix(path_.path());
  const absl::Time begin = absl::Now();
  const auto link = transport::Connect(absl::StrCat("unix:", path_.path()),
                                       {.connect_timeout = absl::Milliseconds(50)});
  EXPECT_EQ(link.status().code(), StatusCode::kUnavailable) << link.status();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(10));
}

TEST(AddressTest, WhatIsNoAddressIsRefused) {
  for (const char* address : {"", "unix", "localhost", ":1234", "host:", "tcp//x"}) {
    EXPECT_EQ(Connect(address, {}).status().code(), StatusCode::kInvalidArgument) << address;
  }
}

TEST(ServerOptionsTest, WhatCannotBeIsRefused) {
  TestService service;
  SocketPath path;
  EXPECT_EQ(StartServer({}, &service).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(StartServer({.unix_path = path.path(), .lanes = 0}, &service).status().code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(StartServer({.unix_path = path.path(), .lanes = 100'000}, &service).status().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cistern::transport
