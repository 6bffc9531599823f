// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::base {

// "4096", "64KiB", "512MiB", "4GiB", "1TiB" (also K, M, G, T: the same powers of 1024).
// InvalidArgument on anything else, on negative numbers and on overflow.
absl::StatusOr<uint64_t> ParseBytes(absl::string_view text);

// "0 B", "1.50 KiB", "12.3 MiB", "512 GiB", "1023 TiB": three digits, four from 1000 on.
std::string FormatBytes(uint64_t bytes);

// "1,814,386".
std::string FormatCount(uint64_t count);

}  // namespace cistern::base
