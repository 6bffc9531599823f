// A target with a planted fault, to see that standalone_main.cc finds it, says how to repeat it,
// and refuses to run on nothing.
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr char kHealthy[] = "{\"model_type\"";
  const bool truncated = size < 8;
  // No seed input is as short as this; a mutation soon is.
  if (truncated && std::memcmp(data, kHealthy, size) != 0) std::abort();
  return 0;
}
