// What `cistern --help` and `cistern COMMAND --help` print.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace cistern::tools {

std::string GeneralHelp();
// Of one command; "" for an unknown one.
std::string CommandHelp(absl::string_view command);

}  // namespace cistern::tools
