// A device whose memory the processor cannot follow: its addresses have a bit that no address of a
// process has, so whoever reads or writes there directly ends the test.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include "cistern/device_memory.h"
#include "cistern/paged_cache.h"
#include "cistern/state.h"

namespace cistern::testing {

class FakeDevice final : public DeviceMemory {
 public:
  static constexpr uintptr_t kDeviceBit = uintptr_t{1} << 62;

  // The address at which the device sees what lies at `content`.
  template <typename Byte>
  static Byte* Hide(Byte* content) {
    return reinterpret_cast<Byte*>(reinterpret_cast<uintptr_t>(content) | kDeviceBit);
  }
  template <typename Byte>
  static std::vector<Byte*> Hide(std::vector<Byte*> contents) {
    for (Byte*& content : contents) content = Hide(content);
    return contents;
  }
  PagedCache Hide(PagedCache cache) {
    cache.layer_base = Hide(std::move(cache.layer_base));
    cache.device = this;
    return cache;
  }
  RowSource Hide(RowSource rows) {
    rows.cache = Hide(std::move(rows.cache));
    rows.pre_rope = Hide(std::move(rows.pre_rope));
    return rows;
  }
  StateView Hide(StateView state) {
    return {Hide(std::move(state.temporal)), Hide(std::move(state.conv)), this};
  }

  absl::Status ToDevice(std::span<const Piece> pieces) override { return Copy(pieces, true); }
  absl::Status FromDevice(std::span<const Piece> pieces) override { return Copy(pieces, false); }
  absl::StatusOr<HostMemory> Stage(uint64_t bytes) override {
    if (no_memory) return absl::ResourceExhaustedError("no pinned memory");
    ++staged;
    return HostMemory(new std::byte[bytes], [this](std::byte* memory) {
      --staged;
      delete[] memory;
    });
  }

  std::atomic<int> staged = 0;                 // buffers that are lent
  std::atomic<int64_t> fails_after = 1 << 30;  // copies that still succeed
  std::atomic<bool> no_memory = false;
  std::function<void()> before_copy;  // of each call

 private:
  absl::Status Copy(std::span<const Piece> pieces, bool in) {
    if (before_copy) before_copy();
    const bool fails = fails_after-- <= 0;
    // It fails half-way.
    for (const Piece& piece : fails ? pieces.first(pieces.size() / 2) : pieces) {
      auto* device =
          reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(piece.device) & ~kDeviceBit);
      for (uint64_t row = 0; row < piece.rows; ++row) {
        std::byte* const there = device + row * piece.device_stride;
        std::byte* const here = piece.host + row * piece.host_stride;
        std::memcpy(in ? there : here, in ? here : there, piece.row_bytes);
      }
    }
    return fails ? absl::UnavailableError("the device has fallen off the bus") : absl::OkStatus();
  }
};

}  // namespace cistern::testing
