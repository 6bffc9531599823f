#include "cacheserver/size_text.h"

#include <cstddef>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace cistern::cacheserver {

std::string SizeText(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return absl::StrCat(bytes, kUnits[unit]);
}

}  // namespace cistern::cacheserver
