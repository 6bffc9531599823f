// Payload as pieces: hashed once, copied at most once, on the way down and on the way up.
//
// What is aligned goes to or from the file as it lies: a piece whose runs of memory all are, and
// the runs that a piece being read begins with. The rest passes through one buffer, and small
// neighbours share a write.
//
// Thread   a writer: one. ReadPiece: any
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "storage/tier/aligned_buffer.h"
#include "storage/tier/byte_runs.h"
#include "storage/tier/payload_file.h"
#include "storage/tier/record.h"

namespace cistern::storage {

class PieceWriter {
 public:
  // `buffer` is kept by the caller between commits. Both outlive the writer.
  PieceWriter(const PayloadFile* file, AlignedBuffer* buffer);

  // Cuts `payload` into pieces and writes them to the record's extent. With `checksums`, fills
  // them; null: somebody else does (HashPieces). Extents follow each other.
  absl::Status Append(const DiskRecord& record,
                      const std::vector<std::span<const std::byte>>& payload,
                      std::vector<base::Key>* checksums);
  absl::Status Flush();  // after the last: what is still in the buffer

 private:
  absl::Status WritePiece(RunCursor<const std::byte>& cursor, uint64_t bytes, uint64_t offset,
                          base::Key* checksum);

  const PayloadFile* const file_;
  AlignedBuffer* const buffer_;
  uint64_t offset_ = 0;  // in the file, of the buffer's first byte
  uint64_t filled_ = 0;
  std::vector<std::span<const std::byte>> parts_;
};

// The checksums of all pieces of `payload`.
std::vector<base::Key> HashPieces(const DiskRecord& record,
                                  const std::vector<std::span<const std::byte>>& payload);

// The piece of `bytes` that lies at `offset` into `parts`, which are as long together; none: only
// reads it. `checksum`, unless null, gets that of what was read. `buffer` is for what is not
// aligned. DataLoss: the file ends too early.
absl::Status ReadPiece(const PayloadFile& file, uint64_t offset, uint64_t bytes,
                       const std::vector<std::span<std::byte>>& parts, AlignedBuffer* buffer,
                       base::Key* checksum);

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

}  // namespace cistern::storage
