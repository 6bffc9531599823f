// CudaMemory through the CUDA runtime, which looks for the driver when it is first asked: so the
// library loads on machines without a GPU.
#include <array>
#include <atomic>
#include <mutex>

#include <cuda_runtime_api.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cistern/device_memory.h"

namespace cistern {
namespace {

constexpr int kMaxDevices = 64;

absl::Status CudaStatus(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string text = absl::StrCat(what, ": ", cudaGetErrorString(error));
  return error == cudaErrorMemoryAllocation ? absl::ResourceExhaustedError(text)
                                            : absl::UnavailableError(text);
}

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
    CISTERN_RETURN_IF_ERROR(CudaStatus(cudaSetDevice(device_), "cudaSetDevice"));
    void* memory = nullptr;
    CISTERN_RETURN_IF_ERROR(
        CudaStatus(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc"));
    return HostMemory(static_cast<std::byte*>(memory), [](std::byte* p) { (void)cudaFreeHost(p); });
  }

 private:
  // On the calling thread's own stream: calls of several threads do not wait for each other.
  absl::Status CopyAll(std::span<const Piece> pieces, cudaMemcpyKind kind) {
    CISTERN_RETURN_IF_ERROR(CudaStatus(cudaSetDevice(device_), "cudaSetDevice"));
    absl::Status status;
    for (const Piece& piece : pieces) {
      status = CudaStatus(Copy(piece, kind), "cudaMemcpy2DAsync");
      if (!status.ok()) break;
    }
    // Also after an error: nothing is under way when this returns.
    const absl::Status ended =
        CudaStatus(cudaStreamSynchronize(cudaStreamPerThread), "cudaStreamSynchronize");
    return status.ok() ? ended : status;
  }

  static cudaError_t Copy(const Piece& piece, cudaMemcpyKind kind) {
    const bool in = kind == cudaMemcpyHostToDevice;
    return cudaMemcpy2DAsync(
        in ? piece.device : piece.host, in ? piece.device_stride : piece.host_stride,
        in ? piece.host : piece.device, in ? piece.host_stride : piece.device_stride,
        piece.row_bytes, piece.rows, kind, cudaStreamPerThread);
  }

  const int device_;
};

}  // namespace

absl::StatusOr<DeviceMemory*> CudaMemory(int device) {
  int devices = 0;
  CISTERN_RETURN_IF_ERROR(CudaStatus(cudaGetDeviceCount(&devices), "no CUDA device can be used"));
  if (device < 0 || device >= std::min(devices, kMaxDevices)) {
    return absl::UnavailableError(
        absl::StrCat("there is no CUDA device ", device, "; this process sees ", devices));
  }
  static std::mutex mutex;
  static std::array<CudaDevice*, kMaxDevices> made{};
  const std::lock_guard lock(mutex);
  if (made[device] == nullptr) made[device] = new CudaDevice(device);  // as long as the process
  return made[device];
}

}  // namespace cistern
