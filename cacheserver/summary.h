// One log line, now and then, of what was evicted, expired, demoted, staged and refused since
// the last one.
//
// Thread   one
#pragma once

#include "absl/time/time.h"

#include "cacheserver/log.h"
#include "storage/store.h"

namespace cistern::cacheserver {

class Summary {
 public:
  explicit Summary(Log* log, absl::Duration every = absl::Seconds(30)) : log_(log), every_(every) {}

  // Logs when `every` has passed since the last line and anything has changed.
  void Update(const storage::StoreStats& stats, absl::Time now);

 private:
  Log* const log_;
  const absl::Duration every_;
  absl::Time last_ = absl::InfinitePast();
  storage::StoreStats before_;
};

}  // namespace cistern::cacheserver
