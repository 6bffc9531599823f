#include "storage/tier/header_salvage.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include "rocksdb/db.h"
#include "rocksdb/metadata.h"
#include "rocksdb/sst_file_reader.h"
#include "rocksdb/sst_file_writer.h"
#include "rocksdb/table_properties.h"

#include "base/status_macros.h"
#include "storage/tier/disk_dir.h"
#include "storage/tier/record.h"
#include "storage/tier/rocks_options.h"

namespace cistern::storage {
namespace {

constexpr char kDoing[] = "salvaging headers";

struct FoundRecord {
  uint64_t id = 0;
  std::string value;
};
using FoundHeaders = std::map<std::string, FoundRecord>;  // by key, as a table file wants them

std::string SalvagedPath(const RocksDb& rocks) { return rocks.path() + "/salvaged.sst"; }

// Adds every whole record in `bytes`; of two under one key, the one written later. Returns how many
// there were.
uint64_t FindRecords(const std::string& bytes, FoundHeaders* found) {
  uint64_t records = 0;
  const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(bytes.data()),
                                       bytes.size());
  for (size_t at = bytes.find("CREC"); at != std::string::npos; at = bytes.find("CREC", at)) {
    const size_t length = RecordLength(all.subspan(at));
    const absl::StatusOr<DiskRecord> record = DecodeRecord(all.subspan(at, length));
    if (!record.ok()) {
      ++at;
      continue;
    }
    ++records;
    FoundRecord& kept = (*found)[EncodeRecordKey({record->header.content, record->header.context})];
    if (record->id > kept.id) kept = {record->id, bytes.substr(at, length)};
    at += length;
  }
  return records;
}

// How many headers a table file was written with; 0 when it cannot tell any more.
uint64_t HeadersWritten(const std::string& path) {
  rocksdb::Options options;
  static_cast<rocksdb::ColumnFamilyOptions&>(options) = HeadersOptions();
  rocksdb::SstFileReader reader(options);
  if (!reader.Open(path).ok()) return 0;
  const std::shared_ptr<const rocksdb::TableProperties> properties = reader.GetTableProperties();
  return properties == nullptr ? 0 : properties->num_entries - properties->num_deletions;
}

// A file that is gone or cannot be read gives nothing.
std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (file) bytes << file.rdbuf();
  return std::move(bytes).str();
}

FoundHeaders ReadFiles(const RocksDb& rocks, uint64_t* lost) {
  rocksdb::ColumnFamilyMetaData meta;
  rocks.db()->GetColumnFamilyMetaData(rocks.headers(), &meta);
  FoundHeaders found;
  for (const auto& level : meta.levels) {
    for (const auto& file : level.files) {
      const std::string path = file.db_path + file.name;
      const uint64_t records = FindRecords(BytesOf(path), &found);
      const uint64_t written = HeadersWritten(path);
      if (written > records) *lost += written - records;
    }
  }
  return found;
}

// Leaves out what the database knows to be deleted, and prefers its own values.
void AskDatabase(const RocksDb& rocks, FoundHeaders* found) {
  for (auto it = found->begin(); it != found->end();) {
    std::string value;
    const rocksdb::Status got =
        rocks.db()->Get(rocksdb::ReadOptions(), rocks.headers(), it->first, &value);
    if (got.IsNotFound()) {
      it = found->erase(it);
      continue;
    }
    if (got.ok()) it->second.value = std::move(value);
    ++it;
  }
}

absl::Status WriteTable(const RocksDb& rocks, const FoundHeaders& found) {
  rocksdb::Options options;
  static_cast<rocksdb::ColumnFamilyOptions&>(options) = HeadersOptions();
  options.env = rocks.db()->GetEnv();
  rocksdb::SstFileWriter writer(rocksdb::EnvOptions(), options);
  const std::string part = rocks.path() + "/incoming/salvaged.sst";
  rocksdb::Status status = writer.Open(part);
  for (auto it = found.begin(); status.ok() && it != found.end(); ++it)
    status = writer.Put(it->first, it->second.value);
  if (status.ok()) status = writer.Finish();  // synced
  CISTERN_RETURN_IF_ERROR(FromRocks(status, kDoing));
  std::error_code error;
  std::filesystem::rename(part, SalvagedPath(rocks), error);
  if (error)
    return absl::UnavailableError("disk tier: " + SalvagedPath(rocks) + ": " + error.message());
  return SyncDirectory(rocks.path());
}

// In place of the headers, which are empty.
absl::Status Ingest(RocksDb* rocks) {
  const std::string path = SalvagedPath(*rocks);
  rocksdb::IngestExternalFileOptions options;
  options.write_global_seqno = false;  // the file stays as it is, for another try after a kill
  CISTERN_RETURN_IF_ERROR(
      FromRocks(rocks->db()->IngestExternalFile(rocks->headers(), {path}, options), kDoing));
  std::error_code error;
  std::filesystem::remove(path, error);
  if (error) return absl::UnavailableError("disk tier: " + path + ": " + error.message());
  return SyncDirectory(rocks->path());
}

}  // namespace

absl::StatusOr<SalvagedHeaders> SalvageHeaders(RocksDb* rocks) {
  rocksdb::DB* db = rocks->db();
  CISTERN_RETURN_IF_ERROR(FromRocks(db->Flush(rocksdb::FlushOptions(), rocks->headers()), kDoing));
  CISTERN_RETURN_IF_ERROR(FromRocks(db->DisableFileDeletions(), kDoing));
  SalvagedHeaders result;
  FoundHeaders found = ReadFiles(*rocks, &result.lost);
  AskDatabase(*rocks, &found);
  CISTERN_RETURN_IF_ERROR(FromRocks(db->EnableFileDeletions(/*force=*/false), kDoing));
  result.kept = found.size();
  result.lost = std::max<uint64_t>(result.lost, 1);
  if (found.empty()) {
    CISTERN_RETURN_IF_ERROR(rocks->ClearHeaders());
    return result;
  }
  absl::Status status = WriteTable(*rocks, found);
  if (status.ok()) status = rocks->ClearHeaders();
  if (!status.ok() && !rocks->headers_dropped()) {
    std::error_code error;  // a file that stays is still pending
    std::filesystem::remove(SalvagedPath(*rocks), error);
  }
  CISTERN_RETURN_IF_ERROR(status);
  CISTERN_RETURN_IF_ERROR(Ingest(rocks));
  return result;
}

bool SalvagePending(const RocksDb& rocks) {
  std::error_code error;
  return rocks.headers_dropped() || std::filesystem::exists(SalvagedPath(rocks), error) || error;
}

absl::Status FinishSalvage(RocksDb* rocks) {
  const std::string path = SalvagedPath(*rocks);
  std::error_code error;
  const bool saved = std::filesystem::exists(path, error);
  if (error) return absl::UnavailableError("disk tier: " + path + ": " + error.message());
  if (saved || rocks->headers_dropped()) CISTERN_RETURN_IF_ERROR(rocks->ClearHeaders());
  return saved ? Ingest(rocks) : absl::OkStatus();
}

}  // namespace cistern::storage
