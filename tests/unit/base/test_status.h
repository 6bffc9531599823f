// Expectations on a Status, for the tests of base.
#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"

namespace cistern::base {

inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

// InvalidArgument with `text` in its message.
#define EXPECT_INVALID(expression, text)                                                  \
  do {                                                                                    \
    const absl::Status seen_ = ::cistern::base::StatusOf(expression);                     \
    EXPECT_EQ(seen_.code(), absl::StatusCode::kInvalidArgument) << seen_;                 \
    EXPECT_THAT(std::string(seen_.message()), ::testing::HasSubstr(text)) << #expression; \
  } while (false)

}  // namespace cistern::base
