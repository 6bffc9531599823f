// Long mappings begin where huge pages can; nothing else of them is left behind.
#include "base/aligned_map.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace cistern::base {
namespace {

class AlignedMapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fd_ = memfd_create("aligned-map-test", 0);
    ASSERT_GE(fd_, 0);
    ASSERT_EQ(ftruncate(fd_, 16 << 20), 0);
  }
  void TearDown() override { close(fd_); }

  int fd_ = -1;
};

TEST_F(AlignedMapTest, LongOnesAreAlignedAndBothSeeTheSameBytes) {
  for (const size_t bytes :
       {size_t{1}, size_t{4096}, kHugePageBytes, kHugePageBytes + 4096 + 1, size_t{9} << 20}) {
    void* const writes = MapAligned(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_);
    void* const reads = MapAligned(bytes, PROT_READ, MAP_SHARED, fd_);
    ASSERT_NE(writes, MAP_FAILED) << bytes;
    ASSERT_NE(reads, MAP_FAILED) << bytes;
    if (bytes >= kHugePageBytes) {
      EXPECT_EQ(reinterpret_cast<uintptr_t>(writes) % kHugePageBytes, 0u) << bytes;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(reads) % kHugePageBytes, 0u) << bytes;
    }
    static_cast<char*>(writes)[bytes - 1] = 'x';
    EXPECT_EQ(static_cast<const char*>(reads)[bytes - 1], 'x') << bytes;
    EXPECT_EQ(munmap(writes, bytes), 0);
    EXPECT_EQ(munmap(reads, bytes), 0);
  }
}

// What was reserved around it is free again: a page there can be taken, or belongs to others.
TEST_F(AlignedMapTest, NothingIsLeftAroundIt) {
  auto* const at = static_cast<char*>(MapAligned(kHugePageBytes, PROT_READ, MAP_SHARED, fd_));
  ASSERT_NE(at, MAP_FAILED);
  unsigned char there = 0;
  EXPECT_EQ(mincore(at, 4096, &there), 0);
  ASSERT_EQ(munmap(at, kHugePageBytes), 0);
  EXPECT_EQ(mincore(at, 4096, &there), -1);
  EXPECT_EQ(errno, ENOMEM);
}

TEST_F(AlignedMapTest, FailuresAreMmaps) {
  for (const size_t bytes : {size_t{4096}, kHugePageBytes}) {
    errno = 0;
    EXPECT_EQ(MapAligned(bytes, PROT_READ, MAP_SHARED, -1), MAP_FAILED);
    EXPECT_EQ(errno, EBADF);
  }
  const int sealed = memfd_create("aligned-map-test-sealed", MFD_ALLOW_SEALING);
  ASSERT_EQ(ftruncate(sealed, 4 << 20), 0);
  ASSERT_EQ(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(MapAligned(kHugePageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, sealed), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  close(sealed);
  errno = 0;
  EXPECT_EQ(MapAligned(size_t{1} << 60, PROT_READ, MAP_SHARED, fd_), MAP_FAILED);
  EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace cistern::base
