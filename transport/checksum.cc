#include "transport/checksum.h"

#define XXH_INLINE_ALL  // the packaged library call runs at half the speed of the inlined one
#include "xxhash.h"

namespace cistern::transport {
namespace {

template <typename S>
uint64_t Checksum(const std::vector<S>& slices) {
  uint64_t hash = 0;
  if (slices.size() == 1) {
    hash = XXH3_64bits(slices[0].data(), slices[0].size());
  } else {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    for (const S& slice : slices) XXH3_64bits_update(&state, slice.data(), slice.size());
    hash = XXH3_64bits_digest(&state);
  }
  return hash == 0 ? 1 : hash;
}

}  // namespace

uint64_t PayloadChecksum(const std::vector<Slice>& slices) { return Checksum(slices); }
uint64_t PayloadChecksum(const std::vector<MutableSlice>& slices) { return Checksum(slices); }

}  // namespace cistern::transport
