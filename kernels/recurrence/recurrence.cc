#include "kernels/recurrence/recurrence.h"

#include "absl/strings/str_cat.h"

namespace cistern::kernels {

absl::Status ValidateShape(const RecurrenceShape& shape) {
  if (shape.recurrence > Recurrence::kKda) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no recurrence number ", static_cast<int>(shape.recurrence)));
  }
  if (shape.num_heads == 0 || shape.num_heads > RecurrenceShape::kMaxHeads ||
      shape.num_key_heads == 0 || shape.num_heads % shape.num_key_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat(shape.num_heads, " heads over ",
                                                   shape.num_key_heads,
                                                   " key heads, which must divide them"));
  }
  if (shape.key_dim == 0 || shape.key_dim > RecurrenceShape::kMaxDim || shape.value_dim == 0 ||
      shape.value_dim > RecurrenceShape::kMaxDim) {
    return absl::InvalidArgumentError(absl::StrCat("key_dim ", shape.key_dim, ", value_dim ",
                                                   shape.value_dim, "; both are 1 to ",
                                                   RecurrenceShape::kMaxDim));
  }
  return absl::OkStatus();
}

absl::Status ValidateTokens(const TokenArray& tokens, absl::string_view name) {
  if (tokens.data == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is null"));
  }
  if (tokens.type != ElementType::kFloat32 && tokens.type != ElementType::kBf16) {
    return absl::InvalidArgumentError(absl::StrCat(name, " has elements of no known type"));
  }
  const uintptr_t size = tokens.type == ElementType::kBf16 ? 2 : 4;
  if (reinterpret_cast<uintptr_t>(tokens.data) % size != 0) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is not aligned to its elements"));
  }
  return absl::OkStatus();
}

}  // namespace cistern::kernels
