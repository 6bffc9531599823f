// Numbers for blocks: the same for the same hash after the same block, counted from 0.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace cistern::tools {

class BlockNames {
 public:
  uint32_t Number(std::optional<uint32_t> parent, uint64_t hash) {
    const uint64_t above = parent.has_value() ? uint64_t{*parent} + 1 : 0;
    return numbers_.try_emplace(std::pair(above, hash), count()).first->second;
  }
  uint32_t count() const { return static_cast<uint32_t>(numbers_.size()); }

 private:
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, uint32_t> numbers_;
};

}  // namespace cistern::tools
