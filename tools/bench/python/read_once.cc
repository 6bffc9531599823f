// libcistern_bench_pass.so: the pass of `cistern-bench`, for a worker of another language, so that
// both sides of a comparison read by the same code.
#include <cstddef>
#include <cstdint>

#include "tools/bench/transfer/cold_memory.h"

extern "C" __attribute__((visibility("default"))) uint64_t cistern_bench_read_once(
    const void* bytes, uint64_t count) {
  return cistern::tools::ReadOnce({static_cast<const std::byte*>(bytes), count});
}
