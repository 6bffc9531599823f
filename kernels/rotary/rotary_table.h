// cos and sin of every position, as an engine computes them.
//
// Entry    of position p: [cos x dim/2 | sin x dim/2] floats, times the model's mscale
// Values   inv_freq is fp32; angle = fl32(p * inv_freq); cos and sin are rounded to fp32, then
//          multiplied by mscale in fp32, then rounded to bf16 if the engine's table is bf16 (the
//          floats hold bf16 values then)
// Memory   dim * 4 bytes a position, made in pages of 1024 positions when first asked for and kept
//          until the table dies; max_positions bounds it
// Thread   any: a lookup is one atomic load; making a page takes a mutex (about 2 ms, once)
// Source   fp32 table, fp32 math: FlashInfer, SGLang, DeepSeek's reference
//          bf16 table, fp32 math: vLLM's CUDA RotaryEmbedding
//          bf16 table, each operation rounded to bf16: HF eager, older vLLM
//
// Engines take inv_freq from fp32 pow: it may differ from ours by one ulp, which changes about 4
// elements in 100,000 by one bf16 ulp.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/model_spec.h"
#include "base/mutex.h"
#include "base/object.h"

namespace cistern::kernels {

using base::RotaryArithmetic;

class RotaryTable {
 public:
  static constexpr uint32_t kPagePositions = 1024;
  static constexpr uint32_t kMaxDim = 1024;
  static constexpr uint32_t kMaxPositions = 1u << 25;

  // InvalidArgument: an odd dim or one above kMaxDim, a max_positions of zero or above
  // kMaxPositions, a theta or factor that gives frequencies that are not finite. A NoPE spec makes
  // a table without entries (see identity()).
  static absl::StatusOr<std::unique_ptr<RotaryTable>> Create(
      const base::RotarySpec& spec, RotaryArithmetic arithmetic,
      uint32_t max_positions = kMaxPositions);
  ~RotaryTable();
  RotaryTable(const RotaryTable&) = delete;
  RotaryTable& operator=(const RotaryTable&) = delete;

  // The entry of `position`, valid as long as the table. Needs position < max_positions() and
  // !identity().
  const float* At(uint32_t position) const {
    const float* page = pages_[position / kPagePositions].load(std::memory_order_acquire);
    if (page == nullptr) page = MakePage(position / kPagePositions);
    return page + size_t{position % kPagePositions} * dim_;
  }

  const base::RotarySpec& spec() const { return spec_; }
  RotaryArithmetic arithmetic() const { return arithmetic_; }
  uint32_t max_positions() const { return max_positions_; }
  bool identity() const { return spec_.style == base::RotaryStyle::kNone; }
  // Of the pages made so far.
  size_t memory_bytes() const;

 private:
  RotaryTable(const base::RotarySpec& spec, RotaryArithmetic arithmetic, uint32_t max_positions);
  const float* MakePage(uint32_t page_index) const;
  void FillEntry(uint32_t position, float* entry) const;

  const base::RotarySpec spec_;
  const RotaryArithmetic arithmetic_;
  const uint32_t max_positions_;
  const uint32_t dim_;
  std::vector<float> inv_freq_;  // [dim / 2]
  float mscale_ = 1.0f;

  mutable base::Mutex mutex_;
  mutable std::vector<std::unique_ptr<float[]>> made_ ABSL_GUARDED_BY(mutex_);
  mutable std::unique_ptr<std::atomic<const float*>[]>
      pages_;  // [max_positions / kPagePositions, rounded up]
};

}  // namespace cistern::kernels
