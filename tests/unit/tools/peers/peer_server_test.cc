// How the peers' servers are started, and what happens when they are not there.
#include "tools/bench/peers/peer_server.h"

#include <cstdlib>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/leftovers.h"

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string CommandLine(PeerKind kind, const PeerAddress& at) {
  return absl::StrJoin(PeerArguments({.kind = kind,
                                      .tcp = at.unix_path.empty(),
                                      .directory = "/scratch",
                                      .max_value_bytes = 64ull << 20,
                                      .total_bytes = 512ull << 20},
                                     at),
                       " ");
}

TEST(PeerServerTest, RedisKeepsNothingAndListensWhereItIsTold) {
  const std::string tcp = CommandLine(PeerKind::kRedis, {.port = 7001});
  EXPECT_THAT(tcp, HasSubstr("redis-server --save  --appendonly no"));
  EXPECT_THAT(tcp, HasSubstr("--bind 127.0.0.1 --port 7001"));
  EXPECT_THAT(tcp, Not(HasSubstr("--unixsocket")));
  const std::string unix_socket = CommandLine(PeerKind::kRedis, {.unix_path = "/scratch/r.sock"});
  EXPECT_THAT(unix_socket, HasSubstr("--port 0 --unixsocket /scratch/r.sock"));
}

TEST(PeerServerTest, MemcachedHasRoomForTheLargestValueAndForAll) {
  const std::string tcp = CommandLine(PeerKind::kMemcached, {.port = 7002});
  EXPECT_THAT(tcp, HasSubstr("-M -o no_slab_reassign,slab_automove=0 -I 66m -m 2560"));
  EXPECT_THAT(tcp, HasSubstr("-l 127.0.0.1 -U 0 -p 7002"));
  const std::string unix_socket =
      CommandLine(PeerKind::kMemcached, {.unix_path = "/scratch/m.sock"});
  EXPECT_THAT(unix_socket, HasSubstr("-s /scratch/m.sock"));
  EXPECT_THAT(unix_socket, Not(HasSubstr("127.0.0.1")));
}

TEST(PeerServerTest, AServerThatIsNotInstalledIsNamedByItsPackage) {
  const char* const path = std::getenv("PATH");
  const std::string before = path == nullptr ? "" : path;
  const auto scratch = ScratchDirectory::Make();
  ASSERT_TRUE(scratch.ok()) << scratch.status();
  setenv("PATH", "/nonexistent", 1);
  for (const PeerKind kind : {PeerKind::kRedis, PeerKind::kMemcached}) {
    const auto server = PeerServer::Start({.kind = kind, .directory = (*scratch)->path()});
    EXPECT_TRUE(absl::IsNotFound(server.status())) << server.status();
    EXPECT_THAT(server.status().message(),
                HasSubstr(kind == PeerKind::kRedis ? "install the Debian package redis-server"
                                                   : "install the Debian package memcached"));
  }
  setenv("PATH", before.c_str(), 1);
}

}  // namespace
}  // namespace cistern::tools
