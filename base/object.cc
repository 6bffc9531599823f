#include "base/object.h"

#include <limits>

#include "absl/strings/str_cat.h"

namespace cistern::base {

absl::Status ObjectHeader::Validate() const {
  if (content.IsZero()) return absl::InvalidArgumentError("object header: the content key is zero");
  if (kind == ObjectKind::kBlob) {
    if (blob_bytes == 0 || blob_bytes > kMaxBlobBytes) {
      return absl::InvalidArgumentError(absl::StrCat("object header: a blob of ", blob_bytes,
                                                     " bytes; it must have 1 to ", kMaxBlobBytes));
    }
    if (!model.IsZero() || !context.IsZero() || !parent_context.IsZero() || !tokens.empty()) {
      return absl::InvalidArgumentError(
          "object header: a blob has no model, no context and no tokens");
    }
    return absl::OkStatus();
  }
  if (kind != ObjectKind::kSegment)
    return absl::InvalidArgumentError("object header: unknown kind");
  if (encoding > RotaryEncoding::kRotated || arithmetic > RotaryArithmetic::kBf16PerOp ||
      lineage > Lineage::kApproximate) {
    return absl::InvalidArgumentError(
        "object header: unknown rotary encoding, arithmetic or lineage");
  }
  if (model.IsZero() || context.IsZero()) {
    return absl::InvalidArgumentError("object header: the model or context key is zero");
  }
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("object header: ", tokens.size(), " tokens; a segment has 1 to ", kMaxTokens));
  }
  if (base_position > std::numeric_limits<uint32_t>::max() - kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("object header: base position ", base_position, " is too large"));
  }
  return absl::OkStatus();
}

absl::string_view ToString(ObjectKind kind) {
  return kind == ObjectKind::kBlob ? "blob" : "segment";
}

absl::string_view ToString(RotaryEncoding encoding) {
  return encoding == RotaryEncoding::kRotated ? "rotated" : "unrotated";
}

absl::string_view ToString(RotaryArithmetic arithmetic) {
  switch (arithmetic) {
    case RotaryArithmetic::kFp32Table:
      return "fp32_table";
    case RotaryArithmetic::kBf16Table:
      return "bf16_table";
    case RotaryArithmetic::kBf16PerOp:
      return "bf16_per_op";
  }
  return "unknown";
}

absl::string_view ToString(Lineage lineage) {
  return lineage == Lineage::kExact ? "exact" : "approximate";
}

}  // namespace cistern::base
