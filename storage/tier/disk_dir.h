// The directory of a disk tier, before there is a database in it: made, locked, measured.
//
// Thread   any; keeps no state
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cistern::storage {

// Makes `path` and its parents. InvalidArgument: it is no directory. PermissionDenied or
// Unavailable: it cannot be made.
absl::Status MakeDirectory(const std::string& path);

// A descriptor that holds the lock until it is closed. FailedPrecondition: another holder, in this
// process or not.
absl::StatusOr<int> LockFile(const std::string& path);

// What memory and lengths must be multiples of so that files in `directory` can be read and written
// past the page cache: 512 or 4096. 1: they cannot.
uint32_t DirectIoAlignment(const std::string& directory);

// Removes every file in `directory`, not its subdirectories.
void RemoveFiles(const std::string& directory);

// Makes what was created, renamed or removed in `directory` durable.
absl::Status SyncDirectory(const std::string& directory);

struct DiskSpace {
  uint64_t free_bytes = 0;
  uint64_t capacity_bytes = 0;
};
DiskSpace SpaceOf(const std::string& directory);  // zeros when it cannot be told

}  // namespace cistern::storage
