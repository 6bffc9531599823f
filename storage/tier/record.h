// The bytes of one object's header record, which says where its payload lies.
//
//   headers   RecordKey -> EncodeRecord(DiskRecord)      the object is there when this entry is
//
// storage/FORMAT.md, "Disk records", is the law of every byte. Pure functions; foreign bytes are
// bounds-checked.
//
// Thread   any
// Errors   DataLoss: not a record, or a damaged one; the text says where it breaks
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/key.h"
#include "base/object.h"
#include "storage/store.h"

namespace cistern::storage {

inline constexpr uint32_t kRecordMagic = 0x43455243;  // "CREC"
inline constexpr uint16_t kRecordVersion = 3;
inline constexpr uint32_t kPieceBytes = 2 << 20;     // what this writer cuts payload into
inline constexpr uint32_t kMinPieceBytes = 4 << 10;  // what a reader accepts: multiples of it
inline constexpr uint32_t kMaxPieceBytes = 64 << 20;
inline constexpr uint64_t kMaxRecordPayload = 4ull << 30;  // of one object
inline constexpr uint64_t kExtentAlignment = 4 << 10;
inline constexpr uint64_t kMaxExtentOffset = 1ull << 44;  // what a reader accepts
inline constexpr uint32_t kRecordFixedBytes = 160;        // before tokens and checksums
inline constexpr uint32_t kRecordTrailerBytes = 16;       // XXH3-128 of all before it

// Where the payload of one write lies: payload-<file>.log.
struct Extent {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint64_t payload_bytes = 0;

  // Of the room that it takes; offset and end are multiples of kExtentAlignment.
  uint64_t end() const { return offset + RoomFor(payload_bytes); }
  static uint64_t RoomFor(uint64_t payload_bytes) {
    return (payload_bytes + kExtentAlignment - 1) / kExtentAlignment * kExtentAlignment;
  }
  friend bool operator==(const Extent&, const Extent&) = default;
};

struct DiskRecord {
  uint64_t id = 0;  // of the write: they rise
  base::ObjectHeader header;
  Extent extent;
  uint32_t piece_bytes = kPieceBytes;      // of every piece but the last
  std::vector<base::Key> piece_checksums;  // XXH3-128 of each piece

  uint32_t num_pieces() const { return static_cast<uint32_t>(piece_checksums.size()); }
  uint64_t PieceBytes(uint32_t index) const;  // index in [0, num_pieces)

  friend bool operator==(const DiskRecord&, const DiskRecord&) = default;
};

// What stands for all checksums of a record's pieces in memory: two records with the same have the
// same payload, up to a chance of 2^-64. Never 0.
uint64_t DigestOf(std::span<const base::Key> piece_checksums);

inline RecordKey KeyOf(const base::ObjectHeader& header) {
  return {header.content, header.context};
}

// ceil(payload_bytes / piece_bytes)
uint64_t NumPieces(uint64_t payload_bytes, uint32_t piece_bytes);

std::string EncodeRecord(const DiskRecord& record);
absl::StatusOr<DiskRecord> DecodeRecord(std::span<const std::byte> bytes);
// What a record that begins `bytes` says of its own length; at most bytes.size().
size_t RecordLength(std::span<const std::byte> bytes);

// 32 bytes: content, then context, each hi first and big-endian.
std::string EncodeRecordKey(const RecordKey& key);
absl::StatusOr<RecordKey> DecodeRecordKey(absl::string_view bytes);

}  // namespace cistern::storage
