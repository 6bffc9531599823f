#include "storage/tier/disk_dir.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace cistern::storage {
namespace {

namespace fs = std::filesystem;

absl::Status DirectoryError(const std::string& path, const std::error_code& error) {
  const std::string text =
      absl::StrCat("disk tier: cannot use the directory ", path, ": ", error.message(),
                   "; give a directory that this user may write");
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted ||
      error == std::errc::read_only_file_system) {
    return absl::PermissionDeniedError(text);
  }
  if (error == std::errc::no_space_on_device) return absl::ResourceExhaustedError(text);
  return absl::InvalidArgumentError(text);
}

}  // namespace

absl::Status MakeDirectory(const std::string& path) {
  if (path.empty())
    return absl::InvalidArgumentError("disk tier: the path is empty; give a directory");
  std::error_code error;
  fs::create_directories(path, error);
  if (fs::is_directory(path)) return absl::OkStatus();
  if (!error) error = std::make_error_code(std::errc::not_a_directory);
  return DirectoryError(path, error);
}

absl::StatusOr<int> LockFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0)
    return DirectoryError(fs::path(path).parent_path(),
                          std::error_code(errno, std::generic_category()));
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        absl::StrCat("disk tier: ", path,
                     " is locked: another server uses this directory; stop it, or give this one ",
                     "a directory of its own"));
  }
  return absl::UnavailableError(
      absl::StrCat("disk tier: cannot lock ", path, ": ", std::strerror(error)));
}

uint32_t DirectIoAlignment(const std::string& directory) {
  constexpr size_t kBlock = 4096, kSector = 512;
  const std::string path = directory + "/direct_io.probe";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0644);
  if (fd < 0) return 1;
  std::unique_ptr<char, decltype(&std::free)> block(
      static_cast<char*>(std::aligned_alloc(kBlock, 2 * kBlock)), &std::free);
  std::memset(block.get(), 0, 2 * kBlock);
  const auto works = [&](size_t alignment) {
    char* const at = block.get() + alignment;
    return pwrite(fd, at, alignment, 0) == static_cast<ssize_t>(alignment) &&
           pread(fd, at, alignment, 0) == static_cast<ssize_t>(alignment);
  };
  const uint32_t alignment = !works(kBlock) ? 1 : works(kSector) ? kSector : kBlock;
  close(fd);
  unlink(path.c_str());
  return alignment;
}

void RemoveFiles(const std::string& directory) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) fs::remove(it->path(), ignored);
  }
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) close(fd);
  if (synced) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("disk tier: cannot sync ", directory, ": ", std::strerror(error)));
}

DiskSpace SpaceOf(const std::string& directory) {
  struct statvfs stats;
  if (statvfs(directory.c_str(), &stats) != 0) return {};
  return {.free_bytes = uint64_t{stats.f_bavail} * stats.f_frsize,
          .capacity_bytes = uint64_t{stats.f_blocks} * stats.f_frsize};
}

}  // namespace cistern::storage
