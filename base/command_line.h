// Command lines of the programs: absl's flags, with complaints that a person can act on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::base {

// Sets the flags of this program (ABSL_FLAG): --name=value, --name value, --name and --noname for a
// bool; "--" ends them. Returns the other words, without the program's name. InvalidArgument, one
// line: a flag that is not there, or a value that it cannot have and what it can.
absl::StatusOr<std::vector<std::string>> ParseCommandLine(int argc, const char* const* argv);

// Whether one of the words is --NAME or -NAME, before any "--".
bool HasFlag(int argc, const char* const* argv, absl::string_view name);

// One entry per flag of this program, by name: default and purpose, in lines of at most 100
// columns. A flag whose purpose begins with commands ("replay, peers: ...") is for these alone;
// with a `command`, flags of others are left out.
std::string FlagsHelp(absl::string_view command = "");

}  // namespace cistern::base
