// CudaMemory where the CUDA Toolkit is not installed.
#include "cistern/device_memory.h"

namespace cistern {

absl::StatusOr<DeviceMemory*> CudaMemory(int /*device*/) {
  return absl::UnimplementedError(
      "this library was built without the CUDA Toolkit: rows are moved in host memory only");
}

}  // namespace cistern
