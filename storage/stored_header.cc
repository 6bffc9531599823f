#include "storage/stored_header.h"

#include <algorithm>
#include <array>
#include <cstring>

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
  auto& [shared, users] = *forms_.try_emplace(form).first;
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
      form(shared),
      base_position(header.base_position),
      token_count(static_cast<uint16_t>(header.tokens.size())),
      has_previous_state(header.kind == base::ObjectKind::kCheckpoint &&
                         !header.previous_state.IsZero()) {
  const size_t tokens = header.tokens.size();
  const size_t bytes = has_previous_state                       ? sizeof(base::Key)
                       : header.kind == base::ObjectKind::kBlob ? sizeof(uint64_t)
                                                                : 0;
  words = std::make_unique_for_overwrite<uint32_t[]>(tokens + bytes / sizeof(uint32_t));
  std::ranges::copy(header.tokens, words.get());
  const std::array<uint64_t, 2> halves = {header.previous_state.hi, header.previous_state.lo};
  if (bytes == sizeof(halves)) std::memcpy(&words[tokens], halves.data(), bytes);
  if (bytes == sizeof(uint64_t)) std::memcpy(&words[tokens], &header.blob_bytes, bytes);
}

// A log stands on the state that it was computed from.
base::Key StoredHeader::previous_state() const {
  if (kind() == base::ObjectKind::kLog) return parent_context;
  std::array<uint64_t, 2> halves = {};
  if (has_previous_state) std::memcpy(halves.data(), &words[token_count], sizeof(halves));
  return {.hi = halves[0], .lo = halves[1]};
}

uint64_t StoredHeader::blob_bytes() const {
  uint64_t bytes = 0;
  if (kind() == base::ObjectKind::kBlob) std::memcpy(&bytes, &words[token_count], sizeof(bytes));
  return bytes;
}

uint64_t StoredHeader::payload_bytes() const {
  switch (kind()) {
    case base::ObjectKind::kBlob:
      return blob_bytes();
    case base::ObjectKind::kCheckpoint:
      return form->spec->state.checkpoint_bytes();
    case base::ObjectKind::kLog:
      return form->spec->state.log_bytes(token_count, form->tails);
    default:
      return token_count * form->spec->token_bytes();
  }
}

uint32_t StoredHeader::num_blocks() const {
  return ObjectShape{.tokens = kind() == base::ObjectKind::kSegment ? token_count : uint32_t{0},
                     .block_bytes = form->block_bytes,
                     .payload_bytes = payload_bytes()}
      .num_blocks();
}

base::ObjectHeader StoredHeader::Full() const {
  base::ObjectHeader header;
  header.kind = form->kind;
  header.model = form->model;
  header.tenant = form->tenant;
  header.content = content;
  header.context = context;
  header.parent_context = parent_context;
  header.previous_state = previous_state();
  header.base_position = base_position;
  header.encoding = form->encoding;
  header.arithmetic = form->arithmetic;
  header.lineage = form->lineage;
  header.tails = form->tails;
  header.tokens.assign(tokens().begin(), tokens().end());
  header.blob_bytes = blob_bytes();
  return header;
}

bool operator==(const StoredHeader& stored, const base::ObjectHeader& header) {
  return stored.content == header.content && stored.context == header.context &&
         stored.Full() == header;
}

}  // namespace cistern::storage
