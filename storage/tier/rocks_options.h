// The options of our RocksDB, each with its reason. Included only by the .cc files of this folder.
#pragma once

#include <vector>

#include "rocksdb/db.h"
#include "rocksdb/options.h"

namespace cistern::storage {

inline constexpr char kHeadersFamily[] = "headers";
inline constexpr int kMaxMemtables = 64;  // of a family; one is filled, the others wait for a flush

rocksdb::DBOptions DatabaseOptions(bool direct_io, rocksdb::Env* env);
rocksdb::ColumnFamilyOptions HeadersOptions();
// default, headers
std::vector<rocksdb::ColumnFamilyDescriptor> Families();

}  // namespace cistern::storage
