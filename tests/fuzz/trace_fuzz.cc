// The trace parser on foreign text: the input is a trace and, after the first zero byte, its
// pieces.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"

#include "tools/bench/trace.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\0');
  const absl::string_view calls = text.substr(0, cut);
  const absl::string_view pieces =
      cut == absl::string_view::npos ? absl::string_view() : text.substr(cut + 1);
  const auto trace = cistern::tools::ParseTrace("trace", calls, pieces);
  if (!trace.ok()) return 0;
  for (const cistern::tools::Call& call : trace->calls) {
    const size_t tokens = call.Tokens().size();
    if (tokens == 0) std::abort();  // an empty prompt was to be refused
    for (const uint32_t boundary : call.PartBoundaries()) {
      if (boundary > tokens) std::abort();
    }
  }
  return 0;
}
