// One record's payload on its way up, by one thread or by several at once: each takes the next
// piece, reads it and hashes it, so that the disk works while what has come is hashed.
//
//   (Work | Work on another thread ...) ─► status ─► digest | Check
//
// Thread   Work: any, several at once. The others: one, when all Work has returned
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "base/key.h"
#include "storage/tier/aligned_buffer.h"
#include "storage/tier/payload_file.h"
#include "storage/tier/record.h"

namespace cistern::storage {

class RecordRead {
 public:
  // Pieces of `piece_bytes` of `extent`, which lies in `file`, into `payload`; null: they are only
  // read. `hash`: there will be checksums. The payload and the buffers outlive it.
  RecordRead(std::shared_ptr<PayloadFile> file, const Extent& extent, uint32_t piece_bytes,
             const std::vector<std::span<std::byte>>* payload, bool hash, BufferPool* buffers);

  // Returns when nothing is left to begin.
  void Work();

  // Of the first piece that could not be read. DataLoss: the file ends too early.
  absl::Status status() const;
  // DigestOf the pieces that were read.
  uint64_t digest() const;
  // DataLoss: a checksum is another one than `record` has, which is of these pieces.
  absl::Status Check(const DiskRecord& record) const;

  size_t num_pieces() const { return pieces_.size(); }

 private:
  struct Piece {
    uint64_t offset = 0, bytes = 0;
    std::vector<std::span<std::byte>> parts;
    base::Key checksum;
    absl::Status status;
  };

  const std::shared_ptr<PayloadFile> file_;
  const bool hash_;
  BufferPool* const buffers_;
  std::vector<Piece> pieces_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> failed_{false};
};

}  // namespace cistern::storage
