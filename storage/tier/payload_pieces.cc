#include "storage/tier/payload_pieces.h"

#include <algorithm>
#include <cstring>

#include "base/hash_parts.h"
#include "base/key.h"
#include "base/status_macros.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBufferBytes = 4 << 20;
constexpr uint64_t kDirectBytes =
    128 << 10;                    // what is smaller shares a write, or is read with what follows
constexpr size_t kMaxParts = 64;  // more are cheaper to copy

static_assert(kPageBytes == kExtentAlignment);

template <typename Byte>
bool IsAligned(std::span<Byte> part, uint32_t alignment) {
  return reinterpret_cast<uintptr_t>(part.data()) % alignment == 0 && part.size() % alignment == 0;
}

template <typename Byte>
bool GoesDirect(const std::vector<std::span<Byte>>& parts, uint32_t alignment) {
  return parts.size() <= kMaxParts &&
         std::all_of(parts.begin(), parts.end(),
                     [&](const auto& part) { return IsAligned(part, alignment); });
}

template <typename Byte>
base::Key HashParts(const std::vector<std::span<Byte>>& parts) {
  if (parts.size() == 1) return base::HashBytes(parts[0]);
  const std::vector<std::span<const std::byte>> all(parts.begin(), parts.end());
  return base::HashParts(all);
}

// How many parts from the first on are read as they lie: none when that would be little.
size_t DirectParts(const std::vector<std::span<std::byte>>& parts, uint32_t alignment) {
  uint64_t bytes = 0;
  size_t count = 0;
  while (count < std::min(parts.size(), kMaxParts) && IsAligned(parts[count], alignment))
    bytes += parts[count++].size();
  return count == parts.size() || bytes >= kDirectBytes ? count : 0;
}

void CopyOut(std::span<const std::byte> from, const std::vector<std::span<std::byte>>& parts,
             size_t first_part) {
  for (size_t i = first_part; i < parts.size(); ++i) {
    std::memcpy(parts[i].data(), from.data(), parts[i].size());
    from = from.subspan(parts[i].size());
  }
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

absl::Status ReadPiece(const PayloadFile& file, uint64_t offset, uint64_t bytes,
                       const std::vector<std::span<std::byte>>& parts, AlignedBuffer* buffer,
                       base::Key* checksum) {
  const size_t direct = DirectParts(parts, file.alignment());
  std::vector<std::span<std::byte>> into(parts.begin(),
                                         parts.begin() + static_cast<std::ptrdiff_t>(direct));
  const uint64_t rest = bytes - TotalBytes(into);
  if (rest > 0) {
    const uint64_t rounded = RoundUpToPage(bytes) - (bytes - rest);
    buffer->Grow(rounded);
    into.push_back(buffer->bytes().first(rounded));
  }
  CISTERN_RETURN_IF_ERROR(file.Read(into, bytes, offset));
  if (rest > 0) into.back() = into.back().first(rest);
  if (checksum != nullptr) *checksum = HashParts(into);
  if (rest > 0) CopyOut(into.back(), parts, direct);
  return absl::OkStatus();
}

}  // namespace cistern::storage
