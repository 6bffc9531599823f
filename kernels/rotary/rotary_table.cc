#include "kernels/rotary/rotary_table.h"

#include <cmath>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

#include "kernels/bf16.h"

namespace cistern::kernels {
namespace {

bool PositiveFinite(double value) { return std::isfinite(value) && value > 0; }

}  // namespace

absl::StatusOr<std::unique_ptr<RotaryTable>> RotaryTable::Create(const base::RotarySpec& spec,
                                                                 RotaryArithmetic arithmetic,
                                                                 uint32_t max_positions) {
  if (max_positions == 0 || max_positions > kMaxPositions) {
    return absl::InvalidArgumentError(absl::StrCat("rotary table: max_positions is ", max_positions,
                                                   "; it must be 1 to ", kMaxPositions));
  }
  auto table = absl::WrapUnique(new RotaryTable(spec, arithmetic, max_positions));
  if (table->identity()) return table;
  if (spec.dim == 0 || spec.dim % 2 != 0 || spec.dim > kMaxDim) {
    return absl::InvalidArgumentError(
        absl::StrCat("rotary table: dim is ", spec.dim, "; it must be even and 2 to ", kMaxDim));
  }
  for (double f : spec.InverseFrequencies()) {
    if (!PositiveFinite(f)) {
      return absl::InvalidArgumentError(
          "rotary table: theta, factor or betas give a frequency that is not positive");
    }
    table->inv_freq_.push_back(static_cast<float>(f));
  }
  table->mscale_ = static_cast<float>(spec.TableScale());
  if (!PositiveFinite(table->mscale_)) {
    return absl::InvalidArgumentError(
        "rotary table: mscale or attention_factor give a scale that is not positive");
  }
  const size_t pages = (size_t{max_positions} + kPagePositions - 1) / kPagePositions;
  table->pages_ = std::make_unique<std::atomic<const float*>[]>(pages);
  return table;
}

RotaryTable::RotaryTable(const base::RotarySpec& spec, RotaryArithmetic arithmetic,
                         uint32_t max_positions)
    : spec_(spec), arithmetic_(arithmetic), max_positions_(max_positions), dim_(spec.dim) {}

RotaryTable::~RotaryTable() = default;

const float* RotaryTable::MakePage(uint32_t page_index) const {
  base::MutexLock lock(&mutex_);
  // Another thread may have been first; the mutex orders its store before this load.
  if (const float* page = pages_[page_index].load(std::memory_order_relaxed)) return page;
  auto page = std::make_unique<float[]>(size_t{kPagePositions} * dim_);
  for (uint32_t i = 0; i < kPagePositions; ++i) {
    FillEntry(page_index * kPagePositions + i, &page[size_t{i} * dim_]);
  }
  made_.push_back(std::move(page));
  pages_[page_index].store(made_.back().get(), std::memory_order_release);
  return made_.back().get();
}

void RotaryTable::FillEntry(uint32_t position, float* entry) const {
  const uint32_t pairs = dim_ / 2;
  for (uint32_t i = 0; i < pairs; ++i) {
    const float angle = static_cast<float>(position) * inv_freq_[i];
    // In double, then rounded: the nearest fp32, whatever libm and processor.
    entry[i] = static_cast<float>(std::cos(double{angle})) * mscale_;
    entry[pairs + i] = static_cast<float>(std::sin(double{angle})) * mscale_;
  }
  if (arithmetic_ == RotaryArithmetic::kFp32Table) return;
  for (uint32_t i = 0; i < dim_; ++i) entry[i] = RoundToBf16(entry[i]);
}

size_t RotaryTable::memory_bytes() const {
  base::MutexLock lock(&mutex_);
  return made_.size() * kPagePositions * dim_ * sizeof(float);
}

}  // namespace cistern::kernels
