// The arena: what a worker that receives its descriptor may do with it, and what happens when the
// memory is not there.
#include "storage/arena.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cistern::storage {
namespace {

using testing::HasSubstr;

ArenaOptions Small(uint64_t bytes) {
  return {.bytes = bytes, .incarnation = 42, .huge_pages = false, .pre_touch = false};
}

// Sends a descriptor through a unix socket, as the node does, and returns the receiver's.
int PassOver(int fd) {
  int pair[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  char byte = 'x';
  iovec io{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  EXPECT_EQ(sendmsg(pair[0], &message, 0), 1);
  EXPECT_EQ(recvmsg(pair[1], &message, 0), 1);
  int received = -1;
  std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  close(pair[0]);
  close(pair[1]);
  return received;
}

class Limit {  // of a resource, for a scope
 public:
  Limit(__rlimit_resource what, rlim_t value) : what_(what) {
    getrlimit(what, &before_);
    const rlimit now{value, before_.rlim_max};
    setrlimit(what, &now);
  }
  ~Limit() { setrlimit(what_, &before_); }

 private:
  __rlimit_resource what_;
  rlimit before_;
};

TEST(Arena, BeginsWithItsHeader) {
  const auto arena = Arena::Create(Small(100'000)).value();
  const base::ArenaHeader& header = arena->header();
  EXPECT_EQ(header.magic, base::kArenaMagic);
  EXPECT_EQ(header.version, base::kArenaVersion);
  EXPECT_EQ(header.incarnation, 42u);
  EXPECT_EQ(header.arena_bytes, arena->mapped_bytes());
  EXPECT_EQ(arena->slab_bytes_total(), 102'400u);  // whole pages
  EXPECT_EQ(header.num_handles, 1u + 25);          // one per 4 KiB, and the one that names nothing
  EXPECT_EQ(header.slabs_offset % 4096, 0u);
  EXPECT_GE(header.slabs_offset, header.table_offset + header.num_handles * 4ull);
}

TEST(Arena, LargeArenasAlignTheirSlabsToHugePages) {
  const auto arena = Arena::Create(Small(8 << 20)).value();
  EXPECT_EQ(arena->slabs_offset() % (2 << 20), 0u);
  EXPECT_EQ(Arena::Create({.bytes = 1 << 20, .max_handles = 10, .pre_touch = false})
                .value()
                ->num_handles(),
            11u);
}

TEST(Arena, AReceiverCanReadAndNothingElse) {
  const auto arena = Arena::Create(Small(64 << 10)).value();
  const int fd = PassOver(arena->fd());
  const size_t bytes = arena->mapped_bytes();
  ASSERT_GE(fd, 0);

  EXPECT_EQ(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(fd, 4096), -1);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes) * 2), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);

  void* mapping = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(mapping, MAP_FAILED);
  EXPECT_EQ(mprotect(mapping, bytes, PROT_READ | PROT_WRITE), -1)
      << "a read-only mapping must stay one";
  const auto* seen = static_cast<const char*>(mapping);
  std::memcpy(arena->At(arena->slabs_offset()), "written by the node", 20);
  EXPECT_STREQ(seen + arena->slabs_offset(), "written by the node");

  EXPECT_EQ(base::ReadGeneration(mapping, 3), 0u);
  EXPECT_EQ(arena->BumpGeneration(3), 1u);
  EXPECT_EQ(arena->BumpGeneration(3), 2u);
  EXPECT_EQ(base::ReadGeneration(mapping, 3), 2u);
  EXPECT_EQ(base::ReadGeneration(mapping, 2), 0u);
  EXPECT_EQ(arena->generation(3), 2u);
  munmap(mapping, bytes);
  close(fd);
}

TEST(Arena, PreTouchMakesEveryPagePresent) {
  ArenaOptions options{
      .bytes = 130ull << 20, .huge_pages = true, .pre_touch = true};  // three pieces
  const auto arena = Arena::Create(options).value();
  const size_t pages = arena->mapped_bytes() / 4096;
  std::vector<unsigned char> present(pages);
  ASSERT_EQ(mincore(arena->data(), arena->mapped_bytes(), present.data()), 0);
  EXPECT_EQ(static_cast<size_t>(std::count(present.begin(), present.end(), 1)), pages);
  EXPECT_EQ(arena->header().magic, base::kArenaMagic);
}

TEST(Arena, RefusesSizesThatMakeNoSense) {
  EXPECT_TRUE(absl::IsInvalidArgument(Arena::Create(Small(0)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Arena::Create(Small(UINT64_MAX)).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Arena::Create(Small((1ull << 46) + 1)).status()));
}

TEST(Arena, SaysHowMuchMemoryIsMissing) {
  const auto status = Arena::Create({.bytes = 32ull << 40, .pre_touch = true}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("32.0 TiB"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("are available"));
}

TEST(Arena, WithoutDescriptorsThereIsNoArena) {
  absl::Status status;
  {
    const Limit limit(RLIMIT_NOFILE, 0);  // the sanitizer's own checks need descriptors, too
    status = Arena::Create(Small(4096)).status();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("memfd_create"));
}

TEST(Arena, AFileSizeLimitIsReported) {
  std::signal(SIGXFSZ, SIG_IGN);
  const Limit limit(RLIMIT_FSIZE, 4096);
  const auto status = Arena::Create(Small(1 << 20)).status();
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ftruncate"));
}

TEST(Arena, AFullAddressSpaceIsReported) {
  std::vector<std::unique_ptr<Arena>> arenas;
  absl::Status status;
  for (int i = 0; i < 5 && status.ok(); ++i) {  // 4 x 64 TiB are more than any process can map
    auto arena = Arena::Create(Small(1ull << 46));
    status = arena.status();
    if (arena.ok()) arenas.push_back(*std::move(arena));
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("mmap"));
}

}  // namespace
}  // namespace cistern::storage
