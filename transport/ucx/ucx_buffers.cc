#include "transport/ucx/ucx_buffers.h"

#include <utility>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "absl/strings/str_cat.h"

#include "base/round.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kSmallestClass = 64u << 10;
constexpr uint64_t kStepsPerDoubling = 4;

}  // namespace

// Mapped, touched and registered.
class UcxBufferPool::Region {
 public:
  static absl::StatusOr<std::unique_ptr<Region>> Create(const std::shared_ptr<UcxContext>& context,
                                                        uint64_t bytes) {
    void* const address =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no memory for a buffer of ", bytes, " bytes: ", strerror(errno)));
    }
    std::unique_ptr<Region> region(new Region(address, bytes));
    madvise(address, bytes, MADV_HUGEPAGE);  // faster where it is allowed, no loss where not
    memset(address, 0, bytes);
    absl::StatusOr<std::unique_ptr<UcxMemory>> memory =
        UcxMemory::Register(context, address, bytes);
    if (!memory.ok()) return memory.status();
    region->memory_ = *std::move(memory);
    return region;
  }
  ~Region() {
    memory_.reset();
    munmap(address_, bytes_);
  }

  std::byte* data() const { return static_cast<std::byte*>(address_); }
  uint64_t bytes() const { return bytes_; }

 private:
  Region(void* address, uint64_t bytes) : address_(address), bytes_(bytes) {}

  void* const address_;
  const uint64_t bytes_;
  std::unique_ptr<UcxMemory> memory_;
};

class UcxBufferPool::PooledBuffer final : public Buffer {
 public:
  PooledBuffer(std::shared_ptr<UcxBufferPool> pool, std::unique_ptr<Region> region, size_t bytes)
      : pool_(std::move(pool)), region_(std::move(region)), bytes_(bytes) {}
  ~PooledBuffer() override { pool_->Recycle(std::move(region_)); }

  MutableSlice bytes() override { return {region_->data(), bytes_}; }

 private:
  const std::shared_ptr<UcxBufferPool> pool_;
  std::unique_ptr<Region> region_;
  const size_t bytes_;
};

UcxBufferPool::UcxBufferPool(std::shared_ptr<UcxContext> context) : context_(std::move(context)) {}

UcxBufferPool::~UcxBufferPool() = default;

uint64_t UcxBufferPool::ClassBytes(uint64_t bytes) {
  return base::RoundUpToClass(bytes, kSmallestClass, kStepsPerDoubling);
}

absl::StatusOr<std::unique_ptr<Buffer>> UcxBufferPool::Allocate(size_t bytes) {
  if (bytes == 0 || bytes > kMaxBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a buffer has 1 to ", kMaxBytes, " bytes, not ", bytes));
  }
  const uint64_t class_bytes = ClassBytes(bytes);
  std::unique_ptr<Region> region;
  {
    base::MutexLock lock(&mutex_);
    const auto it = idle_.find(class_bytes);
    if (it != idle_.end() && !it->second.empty()) {
      region = std::move(it->second.back());
      it->second.pop_back();
      idle_bytes_ -= class_bytes;
    }
  }
  if (region == nullptr) {
    absl::StatusOr<std::unique_ptr<Region>> created = Region::Create(context_, class_bytes);
    if (!created.ok()) return created.status();
    region = *std::move(created);
  }
  return std::make_unique<PooledBuffer>(shared_from_this(), std::move(region), bytes);
}

void UcxBufferPool::Recycle(std::unique_ptr<Region> region) {
  std::unique_ptr<Region> too_much;  // unmapped outside of the lock
  base::MutexLock lock(&mutex_);
  if (idle_bytes_ + region->bytes() > kMaxIdleBytes) {
    too_much = std::move(region);
    return;
  }
  idle_bytes_ += region->bytes();
  idle_[region->bytes()].push_back(std::move(region));
}

}  // namespace cistern::transport
