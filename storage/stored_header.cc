#include "storage/stored_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/base/macros.h"

#include "storage/object_shape.h"

namespace cistern::storage {

ObjectForm FormOf(const base::ObjectHeader& header) {
  return {.kind = header.kind,
          .encoding = header.encoding,
          .arithmetic = header.arithmetic,
          .lineage = header.lineage,
          .tails = header.tails,
          .model = header.model,
          .tenant = header.tenant};
}

const ObjectForm* FormTable::Take(const ObjectForm& form) {
  ObjectForm own = form;
  own.words = &words_;
  auto& [shared, users] = *forms_.try_emplace(own).first;
  ++users;
  return &shared;
}

void FormTable::Give(const ObjectForm* form) {
  const auto it = forms_.find(*form);
  ABSL_ASSERT(it != forms_.end() && &it->first == form);
  if (--it->second == 0) forms_.erase(it);
}

StoredHeader::StoredHeader(const base::ObjectHeader& header, const ObjectForm* shared)
    : content(header.content),
      context(header.context),
      parent_context(header.parent_context),
      base_position(header.base_position) {
  const bool previous =
      header.kind == base::ObjectKind::kCheckpoint && !header.previous_state.IsZero();
  const uint64_t tokens = header.tokens.size();
  static_assert(base::ObjectHeader::kMaxTokens <= UINT16_MAX);
  const auto address = reinterpret_cast<uintptr_t>(shared);
  ABSL_ASSERT((address & ~kFormMask) == 0 && tokens <= UINT16_MAX);
  packed_ = tokens << kFormBits | address | (previous ? kHasPreviousState : 0);
  const size_t bytes = previous                                 ? sizeof(base::Key)
                       : header.kind == base::ObjectKind::kBlob ? sizeof(uint64_t)
                                                                : 0;
  words_ = shared->words->Take(static_cast<uint32_t>(tokens + bytes / sizeof(uint32_t)));
  if (words_ == kNoWords) return;
  uint32_t* const words = shared->words->At(words_);
  std::ranges::copy(header.tokens, words);
  const std::array<uint64_t, 2> halves = {header.previous_state.hi, header.previous_state.lo};
  if (bytes == sizeof(halves)) std::memcpy(words + tokens, halves.data(), bytes);
  if (bytes == sizeof(uint64_t)) std::memcpy(words + tokens, &header.blob_bytes, bytes);
}

void StoredHeader::Swap(StoredHeader& other) noexcept {
  std::swap(content, other.content);
  std::swap(context, other.context);
  std::swap(parent_context, other.parent_context);
  std::swap(base_position, other.base_position);
  std::swap(words_, other.words_);
  std::swap(packed_, other.packed_);
}

// A log stands on the state that it was computed from.
base::Key StoredHeader::previous_state() const {
  if (kind() == base::ObjectKind::kLog) return parent_context;
  std::array<uint64_t, 2> halves = {};
  if (has_previous_state()) std::memcpy(halves.data(), behind_tokens(), sizeof(halves));
  return {.hi = halves[0], .lo = halves[1]};
}

uint64_t StoredHeader::blob_bytes() const {
  uint64_t bytes = 0;
  if (kind() == base::ObjectKind::kBlob) std::memcpy(&bytes, behind_tokens(), sizeof(bytes));
  return bytes;
}

uint64_t StoredHeader::payload_bytes() const {
  switch (kind()) {
    case base::ObjectKind::kBlob:
      return blob_bytes();
    case base::ObjectKind::kCheckpoint:
      return form()->spec->state.checkpoint_bytes();
    case base::ObjectKind::kLog:
      return form()->spec->state.log_bytes(num_tokens(), form()->tails);
    default:
      return num_tokens() * form()->spec->token_bytes();
  }
}

uint32_t StoredHeader::num_blocks() const {
  return ObjectShape{.tokens = kind() == base::ObjectKind::kSegment ? num_tokens() : uint32_t{0},
                     .block_bytes = form()->block_bytes,
                     .payload_bytes = payload_bytes()}
      .num_blocks();
}

base::ObjectHead StoredHeader::Head() const {
  base::ObjectHead header;
  header.kind = form()->kind;
  header.model = form()->model;
  header.tenant = form()->tenant;
  header.content = content;
  header.context = context;
  header.parent_context = parent_context;
  header.previous_state = previous_state();
  header.base_position = base_position;
  header.encoding = form()->encoding;
  header.arithmetic = form()->arithmetic;
  header.lineage = form()->lineage;
  header.tails = form()->tails;
  header.blob_bytes = blob_bytes();
  return header;
}

base::ObjectHeader StoredHeader::Full() const {
  base::ObjectHeader header;
  static_cast<base::ObjectHead&>(header) = Head();
  header.tokens.assign(tokens().begin(), tokens().end());
  return header;
}

bool operator==(const StoredHeader& stored, const base::ObjectHeader& header) {
  return stored.content == header.content && stored.context == header.context &&
         stored.Full() == header;
}

}  // namespace cistern::storage
