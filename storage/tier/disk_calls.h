// The system calls by which payload reaches its files and leaves them, as one small interface: a
// test wraps it and makes any of them fail.
//
// Thread   any
// Errors   -1 and errno, as the calls of these names
#pragma once

#include <cstdint>

#include <sys/types.h>
#include <sys/uio.h>

namespace cistern::storage {

class DiskCalls {
 public:
  DiskCalls() = default;
  virtual ~DiskCalls() = default;
  DiskCalls(const DiskCalls&) = delete;
  DiskCalls& operator=(const DiskCalls&) = delete;

  virtual int Open(const char* path, int flags);
  virtual int SyncDirectory(const char* path);
  virtual ssize_t Write(int fd, const iovec* parts, int count, uint64_t offset);
  virtual ssize_t Read(int fd, const iovec* parts, int count, uint64_t offset);
  virtual int Sync(int fd);
  // Room for bytes that will be written; the file grows by it.
  virtual int Allocate(int fd, uint64_t offset, uint64_t bytes);
  // Gives room back; the file keeps its size.
  virtual int PunchHole(int fd, uint64_t offset, uint64_t bytes);

  static DiskCalls* System();  // the real ones
};

}  // namespace cistern::storage
