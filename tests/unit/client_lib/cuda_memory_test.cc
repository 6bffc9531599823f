// A CUDA device, where there is one.
#include <numeric>
#include <vector>

#include <cuda_runtime_api.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "cistern/device_memory.h"

namespace cistern {
namespace {

using ::testing::HasSubstr;

TEST(CudaMemoryTest, ADeviceThatIsNotThereIsNamed) {
  for (int device : {-1, 4711}) {
    const auto memory = CudaMemory(device);
    EXPECT_FALSE(memory.ok());
    EXPECT_THAT(memory.status().message(), HasSubstr("CUDA device"));
  }
}

TEST(CudaMemoryTest, RowsGoThereAndComeBack) {
  const auto device = CudaMemory(0);
  if (!device.ok()) GTEST_SKIP() << device.status();
  constexpr uint64_t kRows = 100, kRowBytes = 1152, kStride = 1280;
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, kRows * kStride), cudaSuccess);
  ASSERT_EQ(cudaMemset(memory, 0x5a, kRows * kStride), cudaSuccess);
  auto stage = (*device)->Stage(kRows * kRowBytes);
  ASSERT_TRUE(stage.ok()) << stage.status();
  std::iota(reinterpret_cast<uint8_t*>(stage->get()),
            reinterpret_cast<uint8_t*>(stage->get()) + kRows * kRowBytes, uint8_t{0});
  DeviceMemory::Piece piece{.device = static_cast<std::byte*>(memory),
                            .device_stride = kStride,
                            .host = stage->get(),
                            .host_stride = kRowBytes,
                            .row_bytes = kRowBytes,
                            .rows = kRows};
  ASSERT_TRUE((*device)->ToDevice({&piece, 1}).ok());
  std::vector<std::byte> back(kRows * kStride);
  piece.host = back.data();
  piece.host_stride = kStride;
  piece.row_bytes = kStride;  // with what lies between
  ASSERT_TRUE((*device)->FromDevice({&piece, 1}).ok());
  for (uint64_t row = 0; row < kRows; ++row) {
    EXPECT_TRUE(std::equal(back.begin() + row * kStride, back.begin() + row * kStride + kRowBytes,
                           stage->get() + row * kRowBytes));
    EXPECT_EQ(back[row * kStride + kRowBytes], std::byte{0x5a});
  }
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  const std::byte* const pinned = stage->get();
  stage->reset();
  EXPECT_EQ((*device)->Stage(1)->get(), pinned) << "it is kept";
}

// The engine's thread goes on with the device that it had.
TEST(CudaMemoryTest, TheCallersDeviceStays) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices < 2) {
    GTEST_SKIP() << "needs two CUDA devices";
  }
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  const auto device = CudaMemory(1);
  ASSERT_TRUE(device.ok()) << device.status();
  ASSERT_TRUE((*device)->Stage(4096).ok());
  ASSERT_TRUE((*device)->ToDevice({}).ok());
  int now = -1;
  ASSERT_EQ(cudaGetDevice(&now), cudaSuccess);
  EXPECT_EQ(now, 0);
}

}  // namespace
}  // namespace cistern
