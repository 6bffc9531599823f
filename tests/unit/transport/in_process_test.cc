// What only a link within the process does: it has the arena of a node that shares its address
// space, and may outlive it.
#include "transport/local/in_process.h"

#include <cstring>
#include <memory>
#include <optional>

#include <sys/mman.h>

#include "gtest/gtest.h"

#include "tests/unit/transport/test_arena.h"
#include "tests/unit/transport/test_service.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kLocalArenaBytes = 64 << 10;
constexpr uint64_t kLocalIncarnation = 4712;

class InProcessTest : public testing::Test {
 protected:
  ServerOptions WithArena() const {
    ServerOptions options;
    options.incarnation = kLocalIncarnation;
    options.arena_fd = arena_->fd.get();
    options.arena_bytes = kLocalArenaBytes;
    options.arena = arena_->data;
    return options;
  }

  std::optional<TestArena> arena_{std::in_place,
                                  ArenaHeaderFor(kLocalArenaBytes, kLocalIncarnation)};
  TestService service_;
};

TEST_F(InProcessTest, TheArenaIsSeenAsTheNodeWritesIt) {
  auto server = StartInProcess(WithArena(), &service_);
  ASSERT_TRUE(server.ok()) << server.status();
  auto link = (*server)->Connect({});
  ASSERT_TRUE(link.ok()) << link.status();
  ASSERT_NE((*link)->arena(), nullptr);
  memcpy(arena_->data + 10'000, "news", 4);
  EXPECT_EQ(memcmp((*link)->arena(), arena_->data, kLocalArenaBytes), 0);
  void* const arena = const_cast<std::byte*>((*link)->arena());
  EXPECT_EQ(mprotect(arena, kLocalArenaBytes, PROT_READ | PROT_WRITE), -1);
  auto copying = (*server)->Connect({.want_mapping = false});
  ASSERT_TRUE(copying.ok()) << copying.status();
  EXPECT_EQ((*copying)->arena(), nullptr);
}

TEST_F(InProcessTest, TheArenaOutlivesTheNode) {
  auto server = StartInProcess(WithArena(), &service_);
  ASSERT_TRUE(server.ok()) << server.status();
  auto link = (*server)->Connect({});
  ASSERT_TRUE(link.ok()) << link.status();
  memcpy(arena_->data + 10'000, "last", 4);
  server->reset();
  arena_.reset();  // unmapped and closed by its owner
  EXPECT_FALSE((*link)->alive());
  EXPECT_EQ(memcmp((*link)->arena() + 10'000, "last", 4), 0);
}

TEST_F(InProcessTest, AnArenaThatDoesNotFitIsNotServed) {
  ServerOptions options = WithArena();
  ++options.incarnation;
  EXPECT_EQ(StartInProcess(options, &service_).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace cistern::transport
