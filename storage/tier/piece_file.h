// Payload as pieces: one file per commit on the way down, one read per piece on the way up.
//
//   (Append)* Finish     of one PieceFileWriter; then RocksDb's pieces hold the file
//
// A file begins and ends with an empty mark, so that handing it over reads the marks and not two
// pieces.
//
// Thread   a writer: one. ReadPieces: any
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "storage/tier/record.h"
#include "storage/tier/rocks_db.h"

namespace cistern::storage {

class PieceFileWriter {
 public:
  // `scratch` is kept by the caller between files: fresh memory is slow. Both outlive the writer.
  PieceFileWriter(RocksDb* rocks, std::vector<std::byte>* scratch);
  ~PieceFileWriter();  // removes what was not finished

  // Cuts `payload` into pieces, writes them and fills record->piece_checksums. Ids must rise from
  // call to call. ResourceExhausted: the disk is full. After an error the file is good for nothing.
  absl::Status Append(DiskRecord* record, const std::vector<std::span<const std::byte>>& payload);

  // Makes the file durable and part of the database. Nothing of it is visible before, all of it
  // after.
  absl::Status Finish();

 private:
  absl::Status Open(uint64_t first_id);

  struct Impl;
  RocksDb* rocks_;
  std::vector<std::byte>* scratch_;
  std::unique_ptr<Impl> impl_;
};

// Gives each piece to `take`, in order, checked against the record (its checksum only when
// `verify`). NotFound: a piece is missing. DataLoss: it is damaged.
absl::Status ReadPieces(const RocksDb& rocks, const DiskRecord& record, bool verify,
                        absl::FunctionRef<void(std::span<const std::byte>)> take);

}  // namespace cistern::storage
