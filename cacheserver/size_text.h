// Sizes as settings have them: what is shown is what base::ParseBytes reads.
#pragma once

#include <cstdint>
#include <string>

namespace cistern::cacheserver {

// "0", "1500", "64KiB", "3GiB": the largest unit that divides it.
std::string SizeText(uint64_t bytes);

}  // namespace cistern::cacheserver
