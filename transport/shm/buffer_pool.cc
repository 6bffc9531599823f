#include "transport/shm/buffer_pool.h"

#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/round.h"
#include "base/status_macros.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kLeastBytes = 64 << 10;
constexpr uint64_t kStepsPerDoubling = 4;

}  // namespace

class BufferPool::PooledBuffer final : public Buffer {
 public:
  PooledBuffer(std::shared_ptr<BufferPool> pool, Region region, size_t bytes)
      : pool_(std::move(pool)), region_(std::move(region)), bytes_(bytes) {}
  ~PooledBuffer() override { pool_->Recycle(std::move(region_)); }

  MutableSlice bytes() override { return {region_.memory->data(), bytes_}; }

 private:
  const std::shared_ptr<BufferPool> pool_;
  Region region_;
  const size_t bytes_;
};

uint64_t BufferPool::ClassBytes(uint64_t bytes) {
  return base::RoundUpToClass(bytes, kLeastBytes, kStepsPerDoubling);
}

absl::StatusOr<std::unique_ptr<Buffer>> BufferPool::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > kMaxBufferBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a buffer of ", bytes, " bytes; it must have 1 to ", kMaxBufferBytes));
  }
  CISTERN_ASSIGN_OR_RETURN(Region region, Take(ClassBytes(bytes)));
  return std::make_unique<PooledBuffer>(shared_from_this(), std::move(region), bytes);
}

absl::StatusOr<BufferPool::Region> BufferPool::Take(uint64_t class_bytes) {
  {
    base::MutexLock lock(&mutex_);
    const auto it = idle_.find(class_bytes);
    if (it != idle_.end() && !it->second.empty()) {
      Region region = std::move(it->second.back());
      it->second.pop_back();
      idle_bytes_ -= class_bytes;
      return region;
    }
    if (regions_.size() >= kMaxBuffers) DropIdleLocked();
    if (regions_.size() >= kMaxBuffers) {
      return absl::ResourceExhaustedError(absl::StrCat(
          kMaxBuffers, " buffers of this link are in use, as many as the node maps; free some"));
    }
  }
  return Create(class_bytes);
}

absl::StatusOr<BufferPool::Region> BufferPool::Create(uint64_t class_bytes) {
  {
    base::MutexLock lock(&mutex_);
    if (bytes_ + class_bytes > kMaxSessionBytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a buffer of ", class_bytes, " bytes beside ", bytes_, " of this link; the ",
                       "node maps ", kMaxSessionBytes, " at most"));
    }
    bytes_ += class_bytes;
  }
  absl::StatusOr<Region> region = Make(class_bytes);
  if (!region.ok()) {
    base::MutexLock lock(&mutex_);
    bytes_ -= class_bytes;
  }
  return region;
}

absl::StatusOr<BufferPool::Region> BufferPool::Make(uint64_t class_bytes) {
  CISTERN_ASSIGN_OR_RETURN(UniqueFd fd, CreateMemfd("cistern-buffer", class_bytes));
  Region region;
  CISTERN_ASSIGN_OR_RETURN(
      region.memory,
      Mapping::Map(fd.get(), class_bytes, Mapping::Access::kReadWrite, /*touch=*/true));
  {
    base::MutexLock lock(&mutex_);
    region.id = next_id_++;
    regions_[region.memory->data()] = region;
  }
  const absl::Status announced =
      Announce(*stream_, FrameKind::kBuffer, region.id, class_bytes, std::move(fd));
  if (!announced.ok()) {
    base::MutexLock lock(&mutex_);
    regions_.erase(region.memory->data());
    return announced;
  }
  return region;
}

absl::Status BufferPool::Announce(FrameStream& stream, FrameKind kind, uint32_t buffer,
                                  uint64_t bytes, UniqueFd fd) {
  const BufferNotice notice{.buffer = buffer, .bytes = bytes};
  return stream.Send(
      MakeFrame(kind, 0, std::as_bytes(std::span(&notice, 1)), std::string(), std::move(fd)));
}

void BufferPool::Recycle(Region region) {
  base::MutexLock lock(&mutex_);
  const uint64_t bytes = region.memory->bytes();
  if (idle_bytes_ + bytes > kMaxIdleBytes) {
    ForgetLocked(region);
    return;
  }
  idle_bytes_ += bytes;
  idle_[bytes].push_back(std::move(region));
}

// Makes room for a buffer of another class.
void BufferPool::DropIdleLocked() {
  for (auto& [class_bytes, regions] : idle_) {
    if (regions.empty()) continue;
    ForgetLocked(regions.back());
    regions.pop_back();
    idle_bytes_ -= class_bytes;
    return;
  }
}

void BufferPool::ForgetLocked(const Region& region) {
  // A node that is gone has forgotten it already.
  Announce(*stream_, FrameKind::kDropBuffer, region.id, region.memory->bytes(), UniqueFd())
      .IgnoreError();
  bytes_ -= region.memory->bytes();
  regions_.erase(region.memory->data());
}

absl::StatusOr<WireSlice> BufferPool::Locate(Slice slice) {
  base::MutexLock lock(&mutex_);
  auto it = regions_.upper_bound(slice.data());
  if (it != regions_.begin()) {
    --it;
    const auto offset = static_cast<uint64_t>(slice.data() - it->first);
    const uint64_t size = it->second.memory->bytes();
    if (offset <= size && slice.size() <= size - offset) {
      return WireSlice{.buffer = it->second.id, .offset = offset, .bytes = slice.size()};
    }
  }
  return absl::InvalidArgumentError(
      "a payload must lie in buffers that this link has allocated (Link::Allocate)");
}

}  // namespace cistern::transport
