// The options of our RocksDB, each with its reason. Included only by the .cc files of this folder.
#pragma once

#include <vector>

#include "rocksdb/db.h"
#include "rocksdb/options.h"

#include "storage/tier/live_index.h"

namespace cistern::storage {

inline constexpr char kHeadersFamily[] = "headers";
inline constexpr char kPiecesFamily[] = "pieces";

rocksdb::DBOptions DatabaseOptions(bool direct_io, rocksdb::Env* env);
rocksdb::ColumnFamilyOptions HeadersOptions();
rocksdb::ColumnFamilyOptions PiecesOptions(const LiveIndex* live);
// default, headers, pieces
std::vector<rocksdb::ColumnFamilyDescriptor> Families(const LiveIndex* live);

}  // namespace cistern::storage
