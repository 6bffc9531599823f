#include "storage/tier/payload_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace cistern::storage {
namespace {

template <typename Byte>
std::vector<iovec> ToIoVectors(const std::vector<std::span<Byte>>& parts) {
  std::vector<iovec> out;
  out.reserve(parts.size());
  for (const auto& part : parts) {
    if (!part.empty())
      out.push_back({const_cast<std::byte*>(part.data()), part.size()});  // the calls take no const
  }
  return out;
}

// Leaves out the first `bytes`, which are done.
void Advance(std::vector<iovec>* parts, uint64_t bytes) {
  size_t first = 0;
  while (first < parts->size() && bytes >= (*parts)[first].iov_len)
    bytes -= (*parts)[first++].iov_len;
  parts->erase(parts->begin(), parts->begin() + static_cast<std::ptrdiff_t>(first));
  if (bytes == 0) return;
  parts->front().iov_base = static_cast<std::byte*>(parts->front().iov_base) + bytes;
  parts->front().iov_len -= bytes;
}

}  // namespace

absl::Status FromErrno(int error, absl::string_view doing, const std::string& path) {
  const std::string text =
      absl::StrCat("disk tier: ", doing, ": ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(absl::StrCat(
        text,
        "; the disk is full: free space on it, evict objects, or give the tier another disk"));
  }
  if (error == ENOENT) return absl::NotFoundError(text);
  return absl::UnavailableError(text);
}

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadFile::OpenWith(const std::string& path,
                                                                   int flags,
                                                                   const Options& options) {
  Options with = options;
  if (with.calls == nullptr) with.calls = DiskCalls::System();
  const int direct = with.alignment > 1 ? O_DIRECT : 0;
  const int fd = with.calls->Open(path.c_str(), O_RDWR | O_CLOEXEC | direct | flags);
  if (fd < 0) return FromErrno(errno, "opening a file of payload", path);
  return std::shared_ptr<PayloadFile>(new PayloadFile(path, fd, with));
}

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadFile::Create(const std::string& path,
                                                                 const Options& options) {
  return OpenWith(path, O_CREAT | O_EXCL, options);
}

absl::StatusOr<std::shared_ptr<PayloadFile>> PayloadFile::Open(const std::string& path,
                                                               const Options& options) {
  return OpenWith(path, 0, options);
}

PayloadFile::~PayloadFile() { close(fd_); }

absl::Status PayloadFile::Write(const std::vector<std::span<const std::byte>>& parts,
                                uint64_t offset) const {
  std::vector<iovec> rest = ToIoVectors(parts);
  while (!rest.empty()) {
    const ssize_t done =
        options_.calls->Write(fd_, rest.data(), static_cast<int>(rest.size()), offset);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return FromErrno(done < 0 ? errno : EIO, "writing payload", path_);
    offset += static_cast<uint64_t>(done);
    Advance(&rest, static_cast<uint64_t>(done));
  }
  return absl::OkStatus();
}

absl::Status PayloadFile::Read(const std::vector<std::span<std::byte>>& parts, uint64_t wanted,
                               uint64_t offset) const {
  std::vector<iovec> rest = ToIoVectors(parts);
  for (uint64_t got = 0; got < wanted;) {
    const ssize_t done =
        options_.calls->Read(fd_, rest.data(), static_cast<int>(rest.size()), offset + got);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return FromErrno(errno, "reading payload", path_);
    if (done == 0) {
      return absl::DataLossError(absl::StrCat("disk tier: reading payload: ", path_, " ends at ",
                                              offset + got, ", ", wanted - got,
                                              " bytes too early"));
    }
    got += static_cast<uint64_t>(done);
    if (got < wanted) Advance(&rest, static_cast<uint64_t>(done));
  }
  return absl::OkStatus();
}

absl::Status PayloadFile::Sync() const {
  if (options_.calls->Sync(fd_) == 0) return absl::OkStatus();
  return FromErrno(errno, "syncing payload", path_);
}

absl::Status PayloadFile::Allocate(uint64_t offset, uint64_t bytes) const {
  while (options_.calls->Allocate(fd_, offset, bytes) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) return absl::OkStatus();
    return FromErrno(errno, "making room for payload", path_);
  }
  return absl::OkStatus();
}

absl::Status PayloadFile::PunchHole(uint64_t offset, uint64_t bytes) const {
  while (options_.calls->PunchHole(fd_, offset, bytes) != 0) {
    if (errno == EINTR) continue;
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
      return absl::FailedPreconditionError(
          absl::StrCat("disk tier: the file system of ", path_,
                       " cannot give back parts of a file (fallocate with PUNCH_HOLE); give the ",
                       "tier a directory on one that can, such as ext4, XFS, Btrfs or tmpfs"));
    }
    return FromErrno(errno, "giving room back", path_);
  }
  return absl::OkStatus();
}

absl::Status PayloadFile::Truncate(uint64_t bytes) const {
  if (ftruncate(fd_, static_cast<off_t>(bytes)) == 0) return absl::OkStatus();
  return FromErrno(errno, "truncating a file of payload", path_);
}

absl::StatusOr<uint64_t> PayloadFile::Bytes() const {
  struct stat stats {};
  if (fstat(fd_, &stats) != 0) return FromErrno(errno, "looking at a file of payload", path_);
  return static_cast<uint64_t>(stats.st_size);
}

bool PayloadFile::IsWhole(uint64_t offset, uint64_t bytes) const {
  const off_t hole = lseek(fd_, static_cast<off_t>(offset), SEEK_HOLE);
  return hole >= 0 && static_cast<uint64_t>(hole) >= offset + bytes;
}

bool PayloadFile::IsHole(uint64_t offset, uint64_t bytes) const {
  const off_t data = lseek(fd_, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return errno == ENXIO;
  return static_cast<uint64_t>(data) >= offset + bytes;
}

}  // namespace cistern::storage
