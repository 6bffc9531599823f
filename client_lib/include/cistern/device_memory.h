// Memory that the processor does not address: of a GPU. A worker's paged cache may lie there
// (PagedCache::device); the library then turns rows in host memory and copies them over.
//
// Order    copies go through a stream of the library's own. What the worker's streams still do with
//          the same blocks has been waited for before a call is given them; when a layer has been
//          announced (FetchOptions::on_layer, WaitLayer) or a publish has ended, its copies have
// Errors   of the device. A fetch then delivers fewer rows and says why
//          (FetchResult::device_error), a publish fails
// Thread   any number at once
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cistern {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  // `rows` rows of `row_bytes` each, at strides >= row_bytes.
  struct Piece {
    std::byte* device = nullptr;
    uint64_t device_stride = 0;
    std::byte* host = nullptr;
    uint64_t host_stride = 0;
    uint64_t row_bytes = 0;
    uint64_t rows = 0;
  };
  // All of them in order, and until they are there.
  virtual absl::Status ToDevice(std::span<const Piece> pieces) = 0;
  virtual absl::Status FromDevice(std::span<const Piece> pieces) = 0;

  // Host memory that such copies are fast with (pinned).
  using HostMemory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;
  virtual absl::StatusOr<HostMemory> Stage(uint64_t bytes) = 0;
};

// The CUDA device with this number, as this process sees it; it lives as long as the process.
// Unimplemented: built without the CUDA Toolkit. Unavailable: no driver, or no device at
// all. InvalidArgument: not this one.
absl::StatusOr<DeviceMemory*> CudaMemory(int device);

}  // namespace cistern
