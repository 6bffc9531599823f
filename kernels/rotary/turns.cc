#include "kernels/rotary/turns.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::kernels {
namespace {

absl::Status ValidateSpan(const RotaryTable& table, uint32_t position, uint32_t num_tokens) {
  if (num_tokens == 0 || num_tokens > Turns::kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("turns: num_tokens is ", num_tokens, "; it must be 1 to ", Turns::kMaxTokens));
  }
  if (uint64_t{position} + num_tokens > table.max_positions()) {
    return absl::InvalidArgumentError(absl::StrCat("turns: positions [", position, ", +",
                                                   num_tokens, ") pass the table's ",
                                                   table.max_positions()));
  }
  return absl::OkStatus();
}

bool SameTurn(const RotaryTable& a, const RotaryTable& b) {
  return &a == &b || (a.spec() == b.spec() && a.arithmetic() == b.arithmetic());
}

// to * from^-1, pair by pair: a table entry is the complex number cos + i sin times mscale.
void Ratio(const float* to, const float* from, uint32_t pairs, float* out) {
  for (uint32_t i = 0; i < pairs; ++i) {
    const double tc = to[i], ts = to[pairs + i];
    const double fc = from[i], fs = from[pairs + i];
    const double norm2 = fc * fc + fs * fs;
    out[i] = static_cast<float>((tc * fc + ts * fs) / norm2);
    out[pairs + i] = static_cast<float>((ts * fc - tc * fs) / norm2);
  }
}

}  // namespace

absl::StatusOr<Turns> Turns::Place(const RotaryTable& table, uint32_t position,
                                   uint32_t num_tokens) {
  CISTERN_RETURN_IF_ERROR(ValidateSpan(table, position, num_tokens));
  Turns turns;
  if (table.identity()) return turns;
  turns.style_ = table.spec().style;
  turns.dim_ = table.spec().dim;
  turns.bf16_per_op_ = table.arithmetic() == RotaryArithmetic::kBf16PerOp;
  turns.num_tokens_ = num_tokens;
  turns.step_ = 1;
  turns.entries_.resize(num_tokens);
  for (uint32_t i = 0; i < num_tokens; ++i) turns.entries_[i] = table.At(position + i);
  return turns;
}

absl::StatusOr<Turns> Turns::ShiftIdeal(const base::RotarySpec& spec, int64_t delta) {
  if (delta <= -int64_t{RotaryTable::kMaxPositions} ||
      delta >= int64_t{RotaryTable::kMaxPositions}) {
    return absl::InvalidArgumentError(
        absl::StrCat("turns: delta is ", delta, "; positions end at ", RotaryTable::kMaxPositions));
  }
  if (spec.style != base::RotaryStyle::kNone &&
      (spec.dim == 0 || spec.dim % 2 != 0 || spec.dim > RotaryTable::kMaxDim)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "turns: dim is ", spec.dim, "; it must be even and 2 to ", RotaryTable::kMaxDim));
  }
  Turns turns;
  if (spec.style == base::RotaryStyle::kNone || delta == 0) return turns;
  const uint32_t pairs = spec.dim / 2;
  const std::vector<double> inv_freq = spec.InverseFrequencies();
  turns.style_ = spec.style;
  turns.dim_ = spec.dim;
  turns.owned_.resize(spec.dim);
  for (uint32_t i = 0; i < pairs; ++i) {
    // The engine's frequency is fp32; the angle is not rounded again.
    const double angle = static_cast<double>(delta) * double{static_cast<float>(inv_freq[i])};
    turns.owned_[i] = static_cast<float>(std::cos(angle));
    turns.owned_[pairs + i] = static_cast<float>(std::sin(angle));
  }
  turns.entries_.push_back(turns.owned_.data());
  return turns;
}

absl::StatusOr<Turns> Turns::ShiftTable(const RotaryTable& writer, uint32_t base_position,
                                        const RotaryTable& reader, uint32_t position,
                                        uint32_t num_tokens) {
  CISTERN_RETURN_IF_ERROR(ValidateSpan(writer, base_position, num_tokens));
  CISTERN_RETURN_IF_ERROR(ValidateSpan(reader, position, num_tokens));
  if (writer.spec().style != reader.spec().style || writer.spec().dim != reader.spec().dim) {
    return absl::InvalidArgumentError("turns: writer and reader differ in rotary style or dim");
  }
  if (writer.identity() || (position == base_position && SameTurn(writer, reader))) return Turns();
  Turns turns = OwnedTurns(writer.spec(), num_tokens);
  for (uint32_t i = 0; i < num_tokens; ++i) {
    Ratio(reader.At(position + i), writer.At(base_position + i), turns.dim_ / 2, turns.Owned(i));
  }
  return turns;
}

absl::StatusOr<Turns> Turns::Unplace(const RotaryTable& writer, uint32_t base_position,
                                     uint32_t num_tokens) {
  CISTERN_RETURN_IF_ERROR(ValidateSpan(writer, base_position, num_tokens));
  if (writer.identity()) return Turns();
  Turns turns = OwnedTurns(writer.spec(), num_tokens);
  const uint32_t pairs = turns.dim_ / 2;
  std::vector<float> upright(turns.dim_, 0.0f);  // no turn, scale 1
  std::fill(upright.begin(), upright.begin() + pairs, 1.0f);
  for (uint32_t i = 0; i < num_tokens; ++i) {
    Ratio(upright.data(), writer.At(base_position + i), pairs, turns.Owned(i));
  }
  return turns;
}

Turns Turns::OwnedTurns(const base::RotarySpec& spec, uint32_t num_tokens) {
  Turns turns;
  turns.style_ = spec.style;
  turns.dim_ = spec.dim;
  turns.num_tokens_ = num_tokens;
  turns.step_ = 1;
  turns.owned_.resize(size_t{num_tokens} * spec.dim);
  turns.entries_.resize(num_tokens);
  for (uint32_t i = 0; i < num_tokens; ++i) turns.entries_[i] = turns.Owned(i);
  return turns;
}

}  // namespace cistern::kernels
