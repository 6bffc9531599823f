#include "transport/ucx/payload_outbox.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <string.h>

#include "transport/checksum.h"

namespace cistern::transport {

void PayloadOutbox::Add(uint64_t tag, uint64_t name, std::vector<Slice> payload, Sent sent) {
  Entry entry = {.tag = tag, .name = name};
  entry.bytes = TotalBytes(payload);
  entry.payload = std::move(payload);
  entry.sent = std::move(sent);
  entries_.push_back(std::move(entry));
}

PayloadOutbox::Entries::iterator PayloadOutbox::Find(uint64_t tag) {
  return std::ranges::find(entries_, tag, &Entry::tag);
}

bool PayloadOutbox::Go(uint64_t tag) {
  const auto entry = Find(tag);
  if (entry == entries_.end()) return false;
  entry->may_go = true;
  return true;
}

MonoTime PayloadOutbox::oldest() const {
  return entries_.empty() ? kNever : entries_.front().since;
}

void PayloadOutbox::Refuse(uint64_t tag) {
  const auto entry = Find(tag);
  if (entry != entries_.end()) End(entry);
}

std::optional<uint64_t> PayloadOutbox::Withdraw(uint64_t name) {
  const auto entry = std::ranges::find(entries_, name, &Entry::name);
  if (name == 0 || entry == entries_.end()) return std::nullopt;
  const uint64_t tag = entry->tag;
  End(entry);
  return tag;
}

void PayloadOutbox::Clear() {
  while (!entries_.empty()) End(entries_.begin());
}

// It has left before its `sent` runs, which may come back here.
void PayloadOutbox::End(const Entries::iterator& entry) {
  Sent sent = std::move(entry->sent);
  entries_.erase(entry);
  sent();
}

bool PayloadOutbox::ready() const { return std::ranges::any_of(entries_, &Entry::may_go); }

PayloadOutbox::Piece PayloadOutbox::Pack(MutableSlice into) {
  const auto found = std::ranges::find(entries_, true, &Entry::may_go);
  assert(found != entries_.end());
  Entry& entry = *found;
  Piece piece = {.header = {.tag = entry.tag, .offset = entry.packed}};
  while (piece.bytes < into.size() && entry.slice < entry.payload.size()) {
    const Slice from = entry.payload[entry.slice].subspan(entry.offset);
    const size_t some = std::min(from.size(), into.size() - piece.bytes);
    if (some > 0) memcpy(into.data() + piece.bytes, from.data(), some);
    piece.bytes += some;
    entry.offset += some;
    if (some < from.size()) break;
    ++entry.slice;
    entry.offset = 0;
  }
  piece.header.checksum = PayloadChecksum({Slice(into.first(piece.bytes))});
  entry.packed += piece.bytes;
  if (entry.packed == entry.bytes) End(found);
  return piece;
}

}  // namespace cistern::transport
