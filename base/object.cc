#include "base/object.h"

#include <limits>
#include <span>

#include "absl/strings/str_cat.h"

namespace cistern::base {
namespace {

constexpr uint64_t kStateDomain = 0x3145544154534943;  // the bytes CISTATE1

absl::Status ValidateState(const ObjectHead& header) {
  if (header.content != StateKey(header.kind, header.context, header.parent_context)) {
    return absl::InvalidArgumentError(
        "object header: the content key of state must be StateKey of its contexts");
  }
  if (header.lineage != Lineage::kExact || header.encoding != RotaryEncoding::kUnrotated ||
      header.arithmetic != RotaryArithmetic::kFp32Table) {
    return absl::InvalidArgumentError(
        "object header: state is exact, and has no rotary encoding or arithmetic");
  }
  if (header.kind == ObjectKind::kCheckpoint && header.tails != LogTails::kEnd) {
    return absl::InvalidArgumentError("object header: a checkpoint has no tails but its own");
  }
  if (header.kind == ObjectKind::kLog &&
      (header.parent_context.IsZero() || header.previous_state != header.parent_context)) {
    return absl::InvalidArgumentError(
        "object header: a log's parent context must be its previous state's");
  }
  return absl::OkStatus();
}

}  // namespace

Key StateKey(ObjectKind kind, const Key& context, const Key& parent_context) {
  // All words are little endian and equally wide: nothing between them can be read otherwise.
  const uint64_t words[] = {kStateDomain, static_cast<uint64_t>(kind), context.hi,
                            context.lo,   parent_context.hi,           parent_context.lo};
  return HashBytes(std::as_bytes(std::span(words)));
}

uint64_t ObjectHeader::PayloadBytes(const ModelSpec* spec) const {
  if (kind == ObjectKind::kBlob) return blob_bytes;
  if (spec == nullptr) return 0;
  switch (kind) {
    case ObjectKind::kCheckpoint:
      return spec->state.checkpoint_bytes();
    case ObjectKind::kLog:
      return spec->state.log_bytes(num_tokens(), tails);
    default:
      return tokens.size() * spec->token_bytes();
  }
}

absl::Status ObjectHead::Validate(uint64_t num_tokens) const {
  if (content.IsZero()) return absl::InvalidArgumentError("object header: the content key is zero");
  if (kind == ObjectKind::kBlob) {
    if (blob_bytes == 0 || blob_bytes > kMaxBlobBytes) {
      return absl::InvalidArgumentError(absl::StrCat("object header: a blob of ", blob_bytes,
                                                     " bytes; it must have 1 to ", kMaxBlobBytes));
    }
    if (!model.IsZero() || !context.IsZero() || !parent_context.IsZero() ||
        !previous_state.IsZero() || num_tokens != 0) {
      return absl::InvalidArgumentError(
          "object header: a blob has no model, no context and no tokens");
    }
    return absl::OkStatus();
  }
  if (kind > ObjectKind::kLog) return absl::InvalidArgumentError("object header: unknown kind");
  if (encoding > RotaryEncoding::kRotated || arithmetic > RotaryArithmetic::kBf16PerOp ||
      lineage > Lineage::kApproximate || tails > LogTails::kEveryToken) {
    return absl::InvalidArgumentError(
        "object header: unknown rotary encoding, arithmetic, lineage or tails");
  }
  if (blob_bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("object header: a ", ToString(kind), " of ",
                                                   blob_bytes, " bytes; only a blob says so"));
  }
  if (model.IsZero() || context.IsZero()) {
    return absl::InvalidArgumentError("object header: the model or context key is zero");
  }
  if (num_tokens == 0 || num_tokens > kMaxTokens) {
    return absl::InvalidArgumentError(absl::StrCat("object header: ", num_tokens, " tokens; a ",
                                                   ToString(kind), " has 1 to ", kMaxTokens));
  }
  if (base_position > std::numeric_limits<uint32_t>::max() - kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("object header: base position ", base_position, " is too large"));
  }
  if (IsState(kind)) return ValidateState(*this);
  if (!previous_state.IsZero() || tails != LogTails::kEnd) {
    return absl::InvalidArgumentError(
        "object header: a segment has no previous state and no tails");
  }
  return absl::OkStatus();
}

absl::string_view ToString(ObjectKind kind) {
  switch (kind) {
    case ObjectKind::kSegment:
      return "segment";
    case ObjectKind::kBlob:
      return "blob";
    case ObjectKind::kCheckpoint:
      return "checkpoint";
    case ObjectKind::kLog:
      return "log";
  }
  return "unknown";
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
