#include "storage/tier/piece_file.h"

#include <utility>

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/sst_file_writer.h"

#include "base/status_macros.h"
#include "storage/tier/byte_runs.h"

namespace cistern::storage {
namespace {

rocksdb::Slice ToSlice(std::span<const std::byte> bytes) {
  return rocksdb::Slice(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::span<const std::byte> ToSpan(const rocksdb::Slice& slice) {
  return {reinterpret_cast<const std::byte*>(slice.data()), slice.size()};
}

rocksdb::EnvOptions FileOptions(const RocksDb& rocks) {
  rocksdb::EnvOptions options(rocks.db()->GetDBOptions());
  options.use_direct_writes = rocks.direct_io();
  return options;
}

}  // namespace

struct PieceFileWriter::Impl {
  explicit Impl(const RocksDb& rocks)
      : writer(FileOptions(rocks), rocks.db()->GetOptions(rocks.pieces()), rocks.pieces()) {}

  rocksdb::SstFileWriter writer;
  std::string path;
  uint64_t last_id = 0;
};

PieceFileWriter::PieceFileWriter(RocksDb* rocks, std::vector<std::byte>* scratch)
    : rocks_(rocks), scratch_(scratch) {}

PieceFileWriter::~PieceFileWriter() {
  if (impl_ == nullptr) return;
  const std::string path = impl_->path;
  impl_.reset();
  unlink(path.c_str());  // gone already when the database has taken it
}

absl::Status PieceFileWriter::Open(uint64_t first_id) {
  impl_ = std::make_unique<Impl>(*rocks_);
  impl_->path = rocks_->IncomingPath(first_id);
  CISTERN_RETURN_IF_ERROR(
      FromRocks(impl_->writer.Open(impl_->path), absl::StrCat("creating ", impl_->path)));
  return FromRocks(impl_->writer.Put(PieceKey{first_id, PieceKey::kMark}.Encode(), ""),
                   "writing pieces");
}

absl::Status PieceFileWriter::Append(DiskRecord* record,
                                     const std::vector<std::span<const std::byte>>& payload) {
  if (impl_ == nullptr) CISTERN_RETURN_IF_ERROR(Open(record->id));
  impl_->last_id = record->id;
  RunCursor<const std::byte> cursor(payload);
  const uint64_t num_pieces = NumPieces(record->payload_bytes, record->piece_bytes);
  record->piece_checksums.assign(num_pieces, base::Key{});
  for (uint32_t i = 0; i < num_pieces; ++i) {
    const std::span<const std::byte> piece = Gather(cursor, record->PieceBytes(i), *scratch_);
    record->piece_checksums[i] = base::HashBytes(piece);
    const rocksdb::Status put =
        impl_->writer.Put(PieceKey{record->id, i + 1}.Encode(), ToSlice(piece));
    CISTERN_RETURN_IF_ERROR(FromRocks(put, "writing pieces"));
  }
  return absl::OkStatus();
}

absl::Status PieceFileWriter::Finish() {
  if (impl_ == nullptr) return absl::OkStatus();  // nothing was appended
  const std::string end = PieceKey{impl_->last_id, PieceKey::kEnd}.Encode();
  CISTERN_RETURN_IF_ERROR(FromRocks(impl_->writer.Put(end, ""), "writing pieces"));
  CISTERN_RETURN_IF_ERROR(FromRocks(impl_->writer.Finish(), "writing pieces"));
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  options.write_global_seqno = false;  // would write into a finished file
  return FromRocks(rocks_->db()->IngestExternalFile(rocks_->pieces(), {impl_->path}, options),
                   "committing pieces");
}

absl::Status ReadPieces(const RocksDb& rocks, const DiskRecord& record, bool verify,
                        absl::FunctionRef<void(std::span<const std::byte>)> take) {
  rocksdb::PinnableSlice value;
  for (uint32_t i = 0; i < record.num_pieces(); ++i) {
    value.Reset();
    const std::string key = PieceKey{record.id, i + 1}.Encode();
    const rocksdb::Status got =
        rocks.db()->Get(rocksdb::ReadOptions(), rocks.pieces(), key, &value);
    CISTERN_RETURN_IF_ERROR(
        FromRocks(got, absl::StrCat("reading piece ", i, " of write ", record.id)));
    if (value.size() != record.PieceBytes(i)) {
      return absl::DataLossError(absl::StrCat("disk tier: piece ", i, " of write ", record.id,
                                              " has ", value.size(), " bytes instead of ",
                                              record.PieceBytes(i)));
    }
    if (verify && base::HashBytes(ToSpan(value)) != record.piece_checksums[i]) {
      return absl::DataLossError(absl::StrCat("disk tier: the checksum of piece ", i, " of write ",
                                              record.id, " does not match"));
    }
    take(ToSpan(value));
  }
  return absl::OkStatus();
}

}  // namespace cistern::storage
