// The checksum of bytes that do not lie together.
//
// Thread   any
#pragma once

#include <cstddef>
#include <span>

#include "base/key.h"

namespace cistern::base {

// As HashBytes of all parts in one place.
Key HashParts(std::span<const std::span<const std::byte>> parts);

}  // namespace cistern::base
