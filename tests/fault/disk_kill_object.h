// What disk_kill_test and the process that it kills both know: the object that a key has in a
// version.
#pragma once

#include <cstdint>

#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {

inline constexpr uint64_t kKillThreads = 2;
inline constexpr uint64_t kKillKeys = 24;  // a multiple of 6

// The version lies in the header, so that a header and another version's bytes cannot pass for one.
inline TestObject KillObject(uint64_t key, uint64_t version) {
  TestObject object = Segment(key + 1, 1);
  object.bytes =
      PatternBytes(key * 7919 + version, 1 + (key * 524287 + version * 10007) % (3 << 20));
  object.header.base_position = static_cast<uint32_t>(version);
  return object;
}

}  // namespace cistern::storage
