#include "transport/shm/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "absl/strings/str_cat.h"

#include "base/aligned_map.h"
#include "base/status_macros.h"

namespace cistern::transport {
namespace {

absl::StatusOr<int> Seals(int fd) {
  struct statfs filesystem = {};
  if (fstatfs(fd, &filesystem) != 0 || filesystem.f_type != TMPFS_MAGIC) {
    return absl::InvalidArgumentError("the descriptor is not a plain memfd");
  }
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0)
    return absl::InvalidArgumentError("the descriptor is not a memfd: it cannot be sealed");
  return seals;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Mapping>> Mapping::Map(int fd, uint64_t bytes, Access access,
                                                      bool touch) {
  const int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  void* data = base::MapAligned(bytes, protection, MAP_SHARED | (touch ? MAP_POPULATE : 0), fd);
  if (data == MAP_FAILED) {
    const absl::string_view reason = strerror(errno);
    if (errno == EPERM || errno == EACCES) {
      return absl::InvalidArgumentError(
          absl::StrCat("the memfd cannot be mapped as it must be: ", reason));
    }
    return absl::ResourceExhaustedError(absl::StrCat("mapping ", bytes, " bytes: ", reason));
  }
  return std::shared_ptr<Mapping>(new Mapping(static_cast<std::byte*>(data), bytes));
}

Mapping::~Mapping() { munmap(data_, bytes_); }

absl::StatusOr<UniqueFd> CreateMemfd(const char* name, uint64_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid())
    return absl::ResourceExhaustedError(absl::StrCat("memfd_create: ", strerror(errno)));
  if (ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a memfd of ", bytes, " bytes: ", strerror(errno)));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return absl::InternalError(absl::StrCat("sealing a memfd: ", strerror(errno)));
  }
  return fd;
}

absl::Status CheckMemfd(int fd, uint64_t bytes) {
  CISTERN_ASSIGN_OR_RETURN(const int seals, Seals(fd));
  struct stat file = {};
  if (fstat(fd, &file) != 0 || static_cast<uint64_t>(file.st_size) != bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the memfd has ", file.st_size, " bytes, ", bytes, " were announced"));
  }
  if ((seals & F_SEAL_SHRINK) == 0) {
    return absl::InvalidArgumentError("the memfd can shrink: it lacks F_SEAL_SHRINK");
  }
  return absl::OkStatus();
}

absl::Status CheckReadOnlyMemfd(int fd, uint64_t bytes) {
  CISTERN_RETURN_IF_ERROR(CheckMemfd(fd, bytes));
  CISTERN_ASSIGN_OR_RETURN(const int seals, Seals(fd));
  const bool write_sealed = (seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE)) != 0;
  if (write_sealed && (seals & F_SEAL_GROW) != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the memfd can be written by whoever receives it: it lacks "
      "F_SEAL_FUTURE_WRITE or F_SEAL_GROW");
}

}  // namespace cistern::transport
