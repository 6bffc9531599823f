// A node's JSON answers as text for people. Pure functions.
//
// Errors   Internal: the answer is not what this version of the tool understands
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::tools {

absl::StatusOr<std::string> RenderStatus(absl::string_view json);
absl::StatusOr<std::string> RenderModels(absl::string_view json);
absl::StatusOr<std::string> RenderList(absl::string_view json);
absl::StatusOr<std::string> RenderInspect(absl::string_view json);
absl::StatusOr<std::string> RenderVerify(absl::string_view json);
absl::StatusOr<std::string> RenderFlush(absl::string_view json);
// Of EvictAll (pages.h): "evicted 3 objects", and how many stay
absl::StatusOr<std::string> RenderEvict(absl::string_view json);
// "pinned 3 objects"
absl::StatusOr<std::string> RenderCount(absl::string_view json, absl::string_view what);

// "1d 02:03:04", "3m 20s", "5s"
std::string FormatAge(int64_t seconds);

}  // namespace cistern::tools
