// What the kernels' tests share: random rows, models, every instruction set in turn, and paged
// memory with guards.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "base/model_spec.h"
#include "hwy/targets.h"
#include "kernels/bf16.h"
#include "kernels/rotary/rotary_table.h"
#include "kernels/rows.h"
#include "kernels/target.h"

namespace cistern::kernels {

inline constexpr RotaryArithmetic kArithmetics[] = {
    RotaryArithmetic::kFp32Table, RotaryArithmetic::kBf16Table, RotaryArithmetic::kBf16PerOp};

inline constexpr uint32_t kBlockSizes[] = {1, 3, 16, 64, 128};
inline constexpr StoreHint kHints[] = {StoreHint::kAuto, StoreHint::kCached, StoreHint::kStream};

// Runs `body` once on each instruction set that this build has and this processor can run.
inline void ForEachTarget(const std::function<void()>& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
    ASSERT_STREQ(CpuTarget(), hwy::TargetName(target));
    SCOPED_TRACE(hwy::TargetName(target));
    body();
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().DeInit();
  }
}

inline base::RotarySpec PlainRotary(double theta = 1e4) {
  base::RotarySpec spec;
  spec.theta = theta;
  return spec;
}

// DeepSeek-V3's published scaling; mscale 1/1, so the table is not scaled.
inline base::RotarySpec YarnRotary() {
  base::RotarySpec spec;
  spec.scaling = base::RotaryScaling::kYarn;
  spec.factor = 40;
  return spec;
}

// A YaRN model whose table is scaled: 0.1 * ln 40 + 1 = 1.369.
inline base::RotarySpec ScaledRotary() {
  base::RotarySpec spec = YarnRotary();
  spec.mscale_all_dim = 0;
  return spec;
}

inline std::unique_ptr<RotaryTable> MakeTable(const base::RotarySpec& spec,
                                              RotaryArithmetic arithmetic) {
  auto table = RotaryTable::Create(spec, arithmetic);
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

// Normal numbers of about unit size, as bf16.
inline std::vector<uint16_t> RandomBf16(size_t count, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = FloatToBf16(normal(random));
  return values;
}

inline std::vector<std::byte> RandomBytes(size_t count, std::mt19937_64& random) {
  std::vector<uint64_t> words(count / 8 + 1);
  std::generate(words.begin(), words.end(), std::ref(random));
  std::vector<std::byte> bytes(count);
  if (count > 0) std::memcpy(bytes.data(), words.data(), count);  // neither may be null
  return bytes;
}

inline uint32_t Pick(uint32_t low, uint32_t high, std::mt19937_64& random) {
  return std::uniform_int_distribution<uint32_t>(low, high)(random);
}

inline std::byte* Bytes(std::vector<uint16_t>& values) {
  return reinterpret_cast<std::byte*>(values.data());
}
inline const std::byte* Bytes(const std::vector<uint16_t>& values) {
  return reinterpret_cast<const std::byte*>(values.data());
}

// Shape of a random transfer between a segment and a paged cache.
struct Shape {
  uint32_t layers, first_layer, page_rows, segment_tokens, first_token, num_tokens, cache_token,
      block_size;
  uint32_t row_bytes, row_stride, block_stride, misalign;
};

inline Shape RandomShape(uint32_t row_bytes, uint32_t block_size, std::mt19937_64& random) {
  Shape s{};
  s.layers = Pick(1, 4, random);
  s.first_layer = Pick(0, s.layers - 1, random);
  s.segment_tokens = Pick(1, 70, random);
  s.page_rows = Pick(0, 2, random) == 0 ? s.segment_tokens : 16;  // dense staging, or pages
  s.first_token = Pick(0, s.segment_tokens - 1, random);
  s.num_tokens = Pick(1, s.segment_tokens - s.first_token, random);
  s.cache_token = Pick(0, 200, random);
  s.block_size = block_size;
  s.row_bytes = row_bytes;
  s.row_stride = row_bytes + (Pick(0, 1, random) ? 0 : 16 * Pick(0, 5, random));
  s.block_stride = s.row_stride * block_size + (Pick(0, 1, random) ? 0 : 32);
  s.misalign = Pick(0, 2, random) == 0 ? Pick(1, 63, random) : 0;
  return s;
}

// Pages of one segment and a paged cache, filled with random bytes; both sides can be compared as a
// whole, so that a stray write anywhere shows.
class Memory {
 public:
  Memory(const Shape& shape, std::mt19937_64& random) : shape_(shape) {
    const uint32_t num_pages = (shape.segment_tokens + shape.page_rows - 1) / shape.page_rows;
    page_bytes_ = size_t{shape.layers} * shape.page_rows * shape.row_bytes;
    segment_ = RandomBytes(num_pages * page_bytes_ + 64, random);
    for (uint32_t i = 0; i < num_pages; ++i) {
      pages_.push_back(Aligned(segment_) + i * page_bytes_);
    }
    std::shuffle(pages_.begin(), pages_.end(), random);
    const uint32_t blocks =
        (shape.cache_token + shape.num_tokens + shape.block_size - 1) / shape.block_size;
    for (uint32_t i = 0; i < blocks; ++i) table_.push_back(static_cast<int32_t>(i + 1));
    std::shuffle(table_.begin(), table_.end(), random);
    num_blocks_ = blocks + 2;
    const size_t layer_bytes = size_t{num_blocks_} * shape.block_stride;
    cache_ = RandomBytes(shape.layers * layer_bytes + 64, random);
    for (uint32_t l = 0; l < shape.layers; ++l)
      layers_.push_back(Aligned(cache_) + l * layer_bytes);
  }

  template <typename Rows>
  Rows SegmentAs() const {
    return {.pages = pages_.data(),
            .num_pages = static_cast<uint32_t>(pages_.size()),
            .page_rows = shape_.page_rows,
            .layer_stride = uint64_t{shape_.page_rows} * shape_.row_bytes,
            .num_layers = shape_.layers,
            .row_bytes = shape_.row_bytes};
  }
  template <typename Cache>
  Cache CacheAs() const {
    return {.layers = layers_.data(),
            .num_layers = shape_.layers,
            .block_table = table_.data(),
            .table_blocks = static_cast<uint32_t>(table_.size()),
            .num_blocks = num_blocks_,
            .block_size = shape_.block_size,
            .block_stride = shape_.block_stride,
            .row_stride = shape_.row_stride};
  }
  RowRange Range() const {
    return {.first_layer = shape_.first_layer,
            .num_layers = shape_.layers - shape_.first_layer,
            .first_token = shape_.first_token,
            .num_tokens = shape_.num_tokens,
            .cache_token = shape_.cache_token};
  }

  std::vector<std::byte>& segment() { return segment_; }
  std::vector<std::byte>& cache() { return cache_; }
  std::vector<int32_t>& table() { return table_; }
  std::vector<std::byte*>& pages() { return pages_; }
  std::vector<std::byte*>& layers() { return layers_; }

 private:
  std::byte* Aligned(std::vector<std::byte>& buffer) const {
    const auto address = reinterpret_cast<uintptr_t>(buffer.data());
    const size_t to_line = (64 - address % 64) % 64;
    return buffer.data() + (shape_.misalign == 0 ? to_line : shape_.misalign);
  }

  Shape shape_;
  size_t page_bytes_ = 0;
  uint32_t num_blocks_ = 0;
  std::vector<std::byte> segment_, cache_;
  std::vector<std::byte*> pages_, layers_;
  std::vector<int32_t> table_;
};

}  // namespace cistern::kernels
