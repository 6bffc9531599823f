// What the commands that measure beside a limit have in common: their rounds, their lines and how
// they end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::tools {

// InvalidArgument: none, or more than anybody waits for.
absl::StatusOr<uint32_t> CheckedRounds(uint32_t rounds);

// At once, as a table's row or as a JSON object; both are found by their argument.
template <typename Line>
void PrintLine(const Line& line, bool json) {
  std::fputs((json ? ToJson(line) + "\n" : ToTableRow(line)).c_str(), stdout);
  std::fflush(stdout);
}

// Complains if `status` is none of OK. 0: all is well; 1: bad flags, or something is not there; 2:
// rows did not match; 3: a call failed.
int EndMeasuring(absl::string_view command, const absl::Status& status);

}  // namespace cistern::tools
