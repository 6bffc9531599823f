#include "base/arena_layout.h"

#include "absl/strings/str_cat.h"

namespace cistern::base {

absl::Status CheckArenaHeader(const void* arena, uint64_t mapped_bytes) {
  if (mapped_bytes < sizeof(ArenaHeader)) {
    return absl::InvalidArgumentError(
        absl::StrCat("arena: a mapping of ", mapped_bytes, " bytes has no room for the header"));
  }
  const auto& header = *static_cast<const ArenaHeader*>(arena);
  if (header.magic != kArenaMagic) {
    return absl::InvalidArgumentError("arena: the mapping is not a Cistern arena");
  }
  if (header.version != kArenaVersion) {
    return absl::InvalidArgumentError(absl::StrCat("arena: layout version ", header.version,
                                                   "; this build reads version ", kArenaVersion));
  }
  if (header.arena_bytes > mapped_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("arena: the header says ", header.arena_bytes,
                                                   " bytes, mapped are ", mapped_bytes));
  }
  const uint64_t table_bytes = uint64_t{header.num_handles} * sizeof(uint32_t);
  if (header.table_offset < sizeof(ArenaHeader) || header.table_offset % sizeof(uint32_t) != 0 ||
      header.table_offset > header.arena_bytes ||
      table_bytes > header.arena_bytes - header.table_offset ||
      header.slabs_offset < header.table_offset + table_bytes ||
      header.slabs_offset > header.arena_bytes) {
    return absl::InvalidArgumentError(
        "arena: the header puts the table of generations or the slabs outside of the mapping");
  }
  return absl::OkStatus();
}

}  // namespace cistern::base
