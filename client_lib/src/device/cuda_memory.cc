// CudaMemory through the CUDA runtime, which looks for the driver when it is first asked: so the
// library loads on machines without a GPU.
#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"

#include "base/mutex.h"
#include "base/status_macros.h"
#include "cistern/device_memory.h"

namespace cistern {
namespace {

constexpr int kMaxDevices = 64;
// Pinned memory that is kept for the next copies of a device: to allocate it takes longer than
// they.
constexpr uint64_t kKeptBytes = 64 << 20;

absl::Status CudaStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string text = absl::StrCat(what, ": ", cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation ? absl::ResourceExhaustedError(text)
                                            : absl::UnavailableError(text);
}

// The calling thread uses `device`, and at the end what it used before: it is the engine's thread.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    status_ = CudaStatus(cudaGetDevice(&before_), "cudaGetDevice");
    if (status_.ok()) status_ = CudaStatus(cudaSetDevice(device), "cudaSetDevice");
  }
  ~OnDevice() {
    if (status_.ok()) (void)cudaSetDevice(before_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  const absl::Status& status() const { return status_; }

 private:
  int before_ = 0;
  absl::Status status_;
};

class CudaDevice final : public DeviceMemory {
 public:
  explicit CudaDevice(int device) : device_(device) {}

  absl::Status ToDevice(std::span<const Piece> pieces) override {
    return CopyAll(pieces, cudaMemcpyHostToDevice);
  }
  absl::Status FromDevice(std::span<const Piece> pieces) override {
    return CopyAll(pieces, cudaMemcpyDeviceToHost);
  }

  absl::StatusOr<HostMemory> Stage(uint64_t bytes) override {
    Pinned pinned = TakeKept(bytes);
    if (pinned.memory == nullptr) {
      const OnDevice here(device_);
      CISTERN_RETURN_IF_ERROR(here.status());
      void* memory = nullptr;
      CISTERN_RETURN_IF_ERROR(
          CudaStatus(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc"));
      pinned = {static_cast<std::byte*>(memory), bytes};
    }
    return HostMemory(pinned.memory, [this, pinned](std::byte* /*memory*/) { Keep(pinned); });
  }

 private:
  struct Pinned {
    std::byte* memory = nullptr;
    uint64_t bytes = 0;
  };

  // The smallest that is large enough; none: null.
  Pinned TakeKept(uint64_t bytes) {
    const base::MutexLock lock(&mutex_);
    auto best = kept_.end();
    for (auto it = kept_.begin(); it != kept_.end(); ++it) {
      if (it->bytes >= bytes && (best == kept_.end() || it->bytes < best->bytes)) best = it;
    }
    if (best == kept_.end()) return {};
    const Pinned taken = *best;
    kept_.erase(best);
    kept_bytes_ -= taken.bytes;
    return taken;
  }
  void Keep(const Pinned& pinned) {
    {
      const base::MutexLock lock(&mutex_);
      if (kept_bytes_ + pinned.bytes <= kKeptBytes) {
        kept_.push_back(pinned);
        kept_bytes_ += pinned.bytes;
        return;
      }
    }
    (void)cudaFreeHost(pinned.memory);
  }

  // A stream that waits for no other one, not even for the default one.
  absl::StatusOr<cudaStream_t> TakeStream() {
    {
      const base::MutexLock lock(&mutex_);
      if (!streams_.empty()) {
        cudaStream_t stream = streams_.back();
        streams_.pop_back();
        return stream;
      }
    }
    cudaStream_t stream = nullptr;
    CISTERN_RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking),
                                       "cudaStreamCreateWithFlags"));
    return stream;
  }
  void GiveBack(cudaStream_t stream) {
    const base::MutexLock lock(&mutex_);
    streams_.push_back(stream);
  }

  absl::Status CopyAll(std::span<const Piece> pieces, cudaMemcpyKind kind) {
    const OnDevice here(device_);
    CISTERN_RETURN_IF_ERROR(here.status());
    CISTERN_ASSIGN_OR_RETURN(cudaStream_t stream, TakeStream());
    absl::Status status;
    for (const Piece& piece : pieces) {
      status = CudaStatus(Copy(piece, kind, stream), "cudaMemcpy2DAsync");
      if (!status.ok()) break;
    }
    // Also after an error: nothing is under way when this returns.
    const absl::Status ended = CudaStatus(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
    GiveBack(stream);
    return status.ok() ? ended : status;
  }

  static cudaError_t Copy(const Piece& piece, cudaMemcpyKind kind, cudaStream_t stream) {
    if (kind == cudaMemcpyHostToDevice) {
      return cudaMemcpy2DAsync(piece.device, piece.device_stride, piece.host, piece.host_stride,
                               piece.row_bytes, piece.rows, kind, stream);
    }
    return cudaMemcpy2DAsync(piece.host, piece.host_stride, piece.device, piece.device_stride,
                             piece.row_bytes, piece.rows, kind, stream);
  }

  const int device_;
  base::Mutex mutex_;
  std::vector<Pinned> kept_ ABSL_GUARDED_BY(mutex_);
  uint64_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<cudaStream_t> streams_ ABSL_GUARDED_BY(mutex_);  // as many as copied at once
};

}  // namespace

absl::StatusOr<DeviceMemory*> CudaMemory(int device) {
  int devices = 0;
  CISTERN_RETURN_IF_ERROR(CudaStatus(cudaGetDeviceCount(&devices), "no CUDA device can be used"));
  if (device < 0 || device >= std::min(devices, kMaxDevices)) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no CUDA device ", device, "; this process sees ", devices));
  }
  static base::Mutex mutex;
  static std::array<CudaDevice*, kMaxDevices> made{};
  const base::MutexLock lock(&mutex);
  if (made[device] == nullptr) made[device] = new CudaDevice(device);  // as long as the process
  return made[device];
}

}  // namespace cistern
