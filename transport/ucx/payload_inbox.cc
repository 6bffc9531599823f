#include "transport/ucx/payload_inbox.h"

#include <algorithm>
#include <utility>

#include <string.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "transport/checksum.h"

namespace cistern::transport {

absl::Status PayloadInbox::Announce(uint64_t tag, uint64_t bytes) {
  if (bytes == 0) return absl::InvalidArgumentError("an empty payload in pieces");
  if (entries_.size() >= kMaxPayloads) {
    return absl::InvalidArgumentError("too many payloads that do not come");
  }
  const auto [entry, added] = entries_.try_emplace(tag);
  if (!added) return absl::InvalidArgumentError("two payloads with one tag");
  entry->second.bytes = bytes;
  entry->second.missing = (bytes + kPieceBytes - 1) / kPieceBytes;
  return absl::OkStatus();
}

void PayloadInbox::Claim(uint64_t tag, std::vector<MutableSlice> into, Received done) {
  const auto it = entries_.find(tag);
  if (it == entries_.end()) return;  // `done` says Unavailable as it goes
  Entry& entry = it->second;
  entry.into = std::move(into);
  uint64_t begin = 0;
  for (const MutableSlice& slice : entry.into) {
    entry.begins.push_back(begin);
    begin += slice.size();
  }
  entry.done = std::move(done);
  entry.claimed = true;
  entry.since = MonoNow();
  if (!entry.lost.ok()) End(tag, entry.lost);
}

void PayloadInbox::Forget(uint64_t tag) {
  End(tag, absl::UnavailableError("the payload is not waited for any more"));
}

absl::Status PayloadInbox::OnPiece(const PieceHeader& header, Slice piece) {
  const auto it = entries_.find(header.tag);
  if (it == entries_.end()) return absl::OkStatus();  // forgotten
  Entry& entry = it->second;
  if (!entry.claimed) {
    entry.lost = absl::InvalidArgumentError("the payload came before it was asked for");
    return absl::OkStatus();
  }
  CISTERN_RETURN_IF_ERROR(Note(entry, header, piece.size()));
  if (PayloadChecksum({piece}) != header.checksum) {
    End(header.tag,
        absl::DataLossError(absl::StrCat("the payload arrived damaged within ", piece.size(),
                                         " bytes from byte ", header.offset, " on")));
    return absl::OkStatus();
  }
  Scatter(entry, header.offset, piece);
  if (entry.missing == 0) End(header.tag, absl::OkStatus());
  return absl::OkStatus();
}

// Each of them once, and none but the last one shorter than all others.
absl::Status PayloadInbox::Note(Entry& entry, const PieceHeader& header, size_t bytes) {
  const uint64_t place = header.offset / kPieceBytes;
  const bool whole = header.offset % kPieceBytes == 0 && header.offset < entry.bytes &&
                     bytes == std::min<uint64_t>(kPieceBytes, entry.bytes - header.offset);
  if (entry.come.empty()) entry.come.resize(entry.missing);
  if (!whole || entry.come[place]) {
    return absl::InvalidArgumentError(
        absl::StrCat(whole ? "a piece for the second time: " : "not a piece: ", bytes, " bytes at ",
                     header.offset, " of ", entry.bytes));
  }
  entry.come[place] = true;
  --entry.missing;
  return absl::OkStatus();
}

void PayloadInbox::Scatter(const Entry& entry, uint64_t offset, Slice piece) {
  size_t slice = std::ranges::upper_bound(entry.begins, offset) - entry.begins.begin() - 1;
  for (; !piece.empty(); ++slice) {
    const MutableSlice to = entry.into[slice].subspan(offset - entry.begins[slice]);
    const size_t some = std::min(to.size(), piece.size());
    if (some > 0) memcpy(to.data(), piece.data(), some);
    piece = piece.subspan(some);
    offset += some;
  }
}

void PayloadInbox::OnWithdrawn(uint64_t tag) {
  const auto it = entries_.find(tag);
  if (it == entries_.end()) return;
  it->second.lost = absl::UnavailableError("the payload was withdrawn by its sender");
  if (it->second.claimed) End(tag, it->second.lost);
}

void PayloadInbox::Clear() {
  while (!entries_.empty()) {
    End(entries_.begin()->first, absl::UnavailableError("the peer is gone"));
  }
}

// It has left before its `done` runs, which may come back here.
void PayloadInbox::End(uint64_t tag, absl::Status status) {
  const auto it = entries_.find(tag);
  if (it == entries_.end()) return;
  Received done = std::move(it->second.done);
  entries_.erase(it);
  done(std::move(status));
}

bool PayloadInbox::claimed(uint64_t tag) const {
  const auto it = entries_.find(tag);
  return it != entries_.end() && it->second.claimed;
}

MonoTime PayloadInbox::oldest() const {
  MonoTime oldest = kNever;
  for (const auto& [tag, entry] : entries_) {
    if (entry.claimed) oldest = std::min(oldest, entry.since);
  }
  return oldest;
}

}  // namespace cistern::transport
