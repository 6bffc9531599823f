#include "storage/tier/record_read.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/payload_pieces.h"

namespace cistern::storage {

RecordRead::RecordRead(std::shared_ptr<PayloadFile> file, const Extent& extent,
                       uint32_t piece_bytes, const std::vector<std::span<std::byte>>* payload,
                       bool hash, BufferPool* buffers)
    : file_(std::move(file)),
      hash_(hash),
      buffers_(buffers),
      pieces_(NumPieces(extent.payload_bytes, piece_bytes)) {
  static const std::vector<std::span<std::byte>> nowhere;
  RunCursor<std::byte> cursor(payload == nullptr ? nowhere : *payload);
  uint64_t begin = 0;
  for (Piece& piece : pieces_) {
    piece.offset = extent.offset + begin;
    piece.bytes = std::min<uint64_t>(piece_bytes, extent.payload_bytes - begin);
    NextParts(cursor, piece.bytes, &piece.parts);
    begin += piece.bytes;
  }
}

void RecordRead::Work() {
  std::optional<BufferPool::Loan> buffer;
  while (!failed_.load(std::memory_order_relaxed)) {
    const size_t next = next_.fetch_add(1, std::memory_order_relaxed);
    if (next >= pieces_.size()) return;
    if (!buffer.has_value()) buffer.emplace(buffers_);
    Piece& piece = pieces_[next];
    piece.status = ReadPiece(*file_, piece.offset, piece.bytes, piece.parts, &**buffer,
                             hash_ ? &piece.checksum : nullptr);
    if (!piece.status.ok()) failed_ = true;
  }
}

absl::Status RecordRead::status() const {
  for (const Piece& piece : pieces_) CISTERN_RETURN_IF_ERROR(piece.status);
  return absl::OkStatus();
}

uint64_t RecordRead::digest() const {
  std::vector<base::Key> checksums;
  checksums.reserve(pieces_.size());
  for (const Piece& piece : pieces_) checksums.push_back(piece.checksum);
  return DigestOf(checksums);
}

absl::Status RecordRead::Check(const DiskRecord& record) const {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    if (pieces_[i].checksum == record.piece_checksums[i]) continue;
    return absl::DataLossError(absl::StrCat("disk tier: the checksum of piece ", i, " of write ",
                                            record.id, " does not match"));
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
