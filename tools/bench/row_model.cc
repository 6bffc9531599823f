#include "tools/bench/row_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tools/bench/half_floats.h"

namespace cistern::tools {
namespace {

using base::TokenId;

uint32_t RowSeed(TokenId token, uint32_t layer) {
  uint64_t x = (uint64_t{layer} << 32 | token) * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03;
  x ^= x >> 32;
  return static_cast<uint32_t>(x * 0xBEA225F9EB34556D >> 32);
}

// Words of a row: cheap enough that checking a row costs little more than reading it.
inline uint32_t Word(uint32_t seed, uint32_t j) {
  uint32_t v = seed + j * 0x9E3779B9;
  v ^= v << 13;
  v ^= v >> 17;
  v ^= v << 5;
  return v;
}

void WriteFixed(uint32_t seed, uint32_t bytes, std::byte* out) {
  std::array<uint32_t, 256> words;
  const uint32_t count = bytes / 4;
  for (uint32_t begin = 0; begin < count; begin += words.size()) {
    const uint32_t some = std::min<uint32_t>(count - begin, words.size());
    for (uint32_t j = 0; j < some; ++j) words[j] = Word(seed, begin + j);
    std::memcpy(out + size_t{begin} * sizeof(uint32_t), words.data(), some * sizeof(uint32_t));
  }
  for (uint32_t b = count * 4; b < bytes; ++b) out[b] = static_cast<std::byte>(seed >> (b % 4 * 8));
}

}  // namespace

RowModel::RowModel(const base::ModelSpec& spec)
    : spec_(spec),
      fixed_bytes_(spec.rotary_offset()),
      expected_(spec.row_bytes),
      inv_freq_exact_(spec.rotary.InverseFrequencies()) {
  for (double f : inv_freq_exact_) inv_freq_.push_back(static_cast<float>(f));
}

void RowModel::PreRope(TokenId token, uint32_t layer, Pairs* k_r) const {
  const uint32_t seed = RowSeed(token, layer) ^ 0x5bd1e995;
  for (uint32_t i = 0; i < spec_.rotary.dim; ++i) {
    const auto value =
        static_cast<float>(static_cast<int32_t>(Word(seed, i) >> 20) - 2048) / 512.0f;  // [-4, 4)
    (*k_r)[i] = FromBf16(ToBf16(value));
  }
}

const float* RowModel::CosSin(uint32_t position) {
  const size_t pairs = inv_freq_.size();
  while (table_positions_ <= position) {
    table_.resize(table_.size() + 2 * pairs);
    float* row = &table_[2 * pairs * table_positions_];
    const auto scale = static_cast<float>(spec_.rotary.TableScale());
    for (size_t i = 0; i < pairs; ++i) {
      const double angle = static_cast<float>(table_positions_) * inv_freq_[i];
      row[i] = static_cast<float>(std::cos(angle)) * scale;
      row[pairs + i] = static_cast<float>(std::sin(angle)) * scale;
    }
    ++table_positions_;
  }
  return &table_[2 * pairs * position];
}

void RowModel::Rotated(TokenId token, uint32_t layer, uint32_t position, Pairs* k_r) {
  PreRope(token, layer, k_r);
  if (spec_.rotary.style == base::RotaryStyle::kNone) return;
  const float* cos_sin = CosSin(position);
  const uint32_t pairs = spec_.rotary.dim / 2;
  const bool interleaved = spec_.rotary.style == base::RotaryStyle::kInterleaved;
  for (uint32_t i = 0; i < pairs; ++i) {
    float& a = (*k_r)[interleaved ? 2 * i : i];
    float& b = (*k_r)[interleaved ? 2 * i + 1 : i + pairs];
    const float c = cos_sin[i], s = cos_sin[pairs + i], x = a, y = b;
    a = x * c - y * s;
    b = y * c + x * s;
  }
}

void RowModel::WriteRow(TokenId token, uint32_t layer, uint32_t position, std::byte* row) {
  const uint32_t turned = spec_.movable() ? 0 : position * 0x85EBCA6B;  // nobody knows how
  WriteFixed(RowSeed(token, layer) ^ turned, fixed_bytes_, row);
  if (spec_.rotary_bytes() == 0) return;
  Pairs k_r;
  Rotated(token, layer, position, &k_r);
  std::array<uint16_t, kMaxRotary> out;
  for (uint32_t i = 0; i < spec_.rotary.dim; ++i) out[i] = ToBf16(k_r[i]);
  std::memcpy(row + fixed_bytes_, out.data(), spec_.rotary_bytes());
}

void RowModel::WritePreRope(TokenId token, uint32_t layer, std::byte* k_r) const {
  if (spec_.rotary_bytes() == 0) return;
  Pairs values;
  PreRope(token, layer, &values);
  std::array<uint16_t, kMaxRotary> out;
  for (uint32_t i = 0; i < spec_.rotary.dim; ++i) out[i] = ToBf16(values[i]);
  std::memcpy(k_r, out.data(), spec_.rotary_bytes());
}

bool RowModel::RowEquals(TokenId token, uint32_t layer, uint32_t position, const std::byte* row) {
  WriteRow(token, layer, position, expected_.data());
  return std::memcmp(expected_.data(), row, spec_.row_bytes) == 0;
}

bool RowModel::RowNear(TokenId token, uint32_t layer, uint32_t base, uint32_t position,
                       const std::byte* row) {
  WriteFixed(RowSeed(token, layer), fixed_bytes_, expected_.data());
  if (std::memcmp(expected_.data(), row, fixed_bytes_) != 0) return false;
  Pairs want;
  Rotated(token, layer, position, &want);
  std::array<uint16_t, kMaxRotary> got;
  std::memcpy(got.data(), row + fixed_bytes_, spec_.rotary_bytes());
  const uint32_t pairs = spec_.rotary.dim / 2;
  const bool interleaved = spec_.rotary.style == base::RotaryStyle::kInterleaved;
  for (uint32_t i = 0; i < pairs; ++i) {
    const uint32_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + pairs;
    const double n = std::hypot(want[a], want[b]);
    const double delta = static_cast<double>(position) - static_cast<double>(base);
    const double eps = std::abs(static_cast<double>(static_cast<float>(position) * inv_freq_[i]) -
                                static_cast<double>(static_cast<float>(base) * inv_freq_[i]) -
                                delta * inv_freq_exact_[i]);
    const double bound = (3.0 / 256 + eps) * n;
    if (!(std::abs(FromBf16(got[a]) - want[a]) <= bound &&
          std::abs(FromBf16(got[b]) - want[b]) <= bound))
      return false;
  }
  return true;
}

}  // namespace cistern::tools
