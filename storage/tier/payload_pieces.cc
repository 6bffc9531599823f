#include "storage/tier/payload_pieces.h"

#include <cstring>

#include "absl/strings/str_cat.h"

#include "base/hash_parts.h"
#include "base/key.h"
#include "base/status_macros.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBufferBytes = 4 << 20;
constexpr uint64_t kDirectBytes = 128 << 10;  // smaller pieces share a write instead
constexpr size_t kMaxParts = 64;              // more are cheaper to copy

static_assert(kPageBytes == kExtentAlignment);

// The next `bytes`, in as many parts as they lie in.
template <typename Byte>
void NextParts(RunCursor<Byte>& cursor, uint64_t bytes, std::vector<std::span<Byte>>* parts) {
  parts->clear();
  while (bytes != 0) {
    const std::span<Byte> part = cursor.Next(bytes);
    if (part.empty()) return;
    bytes -= part.size();
    parts->push_back(part);
  }
}

template <typename Byte>
bool GoesDirect(const std::vector<std::span<Byte>>& parts, uint32_t alignment) {
  if (parts.size() > kMaxParts) return false;
  for (const auto& part : parts) {
    if (reinterpret_cast<uintptr_t>(part.data()) % alignment != 0 || part.size() % alignment != 0)
      return false;
  }
  return true;
}

template <typename Byte>
base::Key HashParts(const std::vector<std::span<Byte>>& parts) {
  if (parts.size() == 1) return base::HashBytes(parts[0]);
  const std::vector<std::span<const std::byte>> all(parts.begin(), parts.end());
  return base::HashParts(all);
}

absl::Status CheckPiece(const DiskRecord& record, uint32_t index, const base::Key& checksum) {
  if (checksum == record.piece_checksums[index]) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("disk tier: the checksum of piece ", index, " of write ",
                                          record.id, " does not match"));
}

}  // namespace

PieceWriter::PieceWriter(const PayloadFile* file, AlignedBuffer* buffer)
    : file_(file), buffer_(buffer) {
  buffer_->Grow(kBufferBytes);
}

absl::Status PieceWriter::Append(const DiskRecord& record,
                                 const std::vector<std::span<const std::byte>>& payload,
                                 std::vector<base::Key>* checksums) {
  RunCursor<const std::byte> cursor(payload);
  const uint64_t num_pieces = NumPieces(record.extent.payload_bytes, record.piece_bytes);
  if (checksums != nullptr) checksums->assign(num_pieces, base::Key{});
  for (uint32_t i = 0; i < num_pieces; ++i) {
    CISTERN_RETURN_IF_ERROR(WritePiece(cursor, record.PieceBytes(i),
                                       record.extent.offset + uint64_t{i} * record.piece_bytes,
                                       checksums == nullptr ? nullptr : &(*checksums)[i]));
  }
  return absl::OkStatus();
}

std::vector<base::Key> HashPieces(const DiskRecord& record,
                                  const std::vector<std::span<const std::byte>>& payload) {
  RunCursor<const std::byte> cursor(payload);
  std::vector<std::span<const std::byte>> parts;
  std::vector<base::Key> checksums(NumPieces(record.extent.payload_bytes, record.piece_bytes));
  for (uint32_t i = 0; i < checksums.size(); ++i) {
    NextParts(cursor, record.PieceBytes(i), &parts);
    checksums[i] = HashParts(parts);
  }
  return checksums;
}

absl::Status PieceWriter::WritePiece(RunCursor<const std::byte>& cursor, uint64_t bytes,
                                     uint64_t offset, base::Key* checksum) {
  NextParts(cursor, bytes, &parts_);
  if (bytes >= kDirectBytes && GoesDirect(parts_, file_->alignment())) {
    if (checksum != nullptr) *checksum = HashParts(parts_);
    return file_->Write(parts_, offset);
  }
  const uint64_t rounded = RoundUpToPage(bytes);
  if (offset != offset_ + filled_ || filled_ + rounded > kBufferBytes) {
    CISTERN_RETURN_IF_ERROR(Flush());
    offset_ = offset;
  }
  const std::span<std::byte> room = buffer_->bytes().subspan(filled_, rounded);
  uint64_t copied = 0;
  for (const auto& part : parts_) {
    std::memcpy(room.data() + copied, part.data(), part.size());
    copied += part.size();
  }
  std::memset(room.data() + bytes, 0, rounded - bytes);
  filled_ += rounded;
  if (checksum != nullptr) *checksum = base::HashBytes(room.first(bytes));
  return absl::OkStatus();
}

absl::Status PieceWriter::Flush() {
  if (filled_ == 0) return absl::OkStatus();
  const std::vector<std::span<const std::byte>> all = {buffer_->bytes().first(filled_)};
  const uint64_t offset = offset_;
  offset_ += filled_;
  filled_ = 0;
  return file_->Write(all, offset);
}

absl::Status ReadPieces(const PayloadFile& file, const DiskRecord& record, bool verify,
                        const std::vector<std::span<std::byte>>* payload, AlignedBuffer* buffer) {
  static const std::vector<std::span<std::byte>> nowhere;
  RunCursor<std::byte> cursor(payload == nullptr ? nowhere : *payload);
  std::vector<std::span<std::byte>> parts;
  for (uint32_t i = 0; i < record.num_pieces(); ++i) {
    const uint64_t bytes = record.PieceBytes(i);
    const uint64_t offset = record.extent.offset + uint64_t{i} * record.piece_bytes;
    NextParts(cursor, payload == nullptr ? 0 : bytes, &parts);
    if (payload != nullptr && GoesDirect(parts, file.alignment())) {
      CISTERN_RETURN_IF_ERROR(file.Read(parts, bytes, offset));
      if (verify) CISTERN_RETURN_IF_ERROR(CheckPiece(record, i, HashParts(parts)));
      continue;
    }
    const uint64_t rounded = RoundUpToPage(bytes);
    buffer->Grow(rounded);
    const std::span<std::byte> piece = buffer->bytes().first(rounded);
    CISTERN_RETURN_IF_ERROR(file.Read({piece}, bytes, offset));
    if (verify) {
      CISTERN_RETURN_IF_ERROR(CheckPiece(record, i, base::HashBytes(piece.first(bytes))));
    }
    const std::byte* from = piece.data();
    for (const auto& part : parts) {
      std::memcpy(part.data(), from, part.size());
      from += part.size();
    }
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
