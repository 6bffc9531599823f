#include "storage/tier/disk_calls.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace cistern::storage {

int DiskCalls::Open(const char* path, int flags) { return open(path, flags, 0644); }

int DiskCalls::SyncDirectory(const char* path) {
  const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return -1;
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  errno = error;
  return result;
}

ssize_t DiskCalls::Write(int fd, const iovec* parts, int count, uint64_t offset) {
  return pwritev(fd, parts, count, static_cast<off_t>(offset));
}

ssize_t DiskCalls::Read(int fd, const iovec* parts, int count, uint64_t offset) {
  return preadv(fd, parts, count, static_cast<off_t>(offset));
}

int DiskCalls::Sync(int fd) { return fdatasync(fd); }

int DiskCalls::Allocate(int fd, uint64_t offset, uint64_t bytes) {
  return fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes));
}

int DiskCalls::PunchHole(int fd, uint64_t offset, uint64_t bytes) {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                   static_cast<off_t>(bytes));
}

DiskCalls* DiskCalls::System() {
  static DiskCalls calls;  // no state
  return &calls;
}

}  // namespace cistern::storage
