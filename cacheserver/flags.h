// The settings of config.h as command-line flags, and --config, --check_config.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "cacheserver/config.h"

namespace cistern::cacheserver {

// The names of the flags on a command line, in order: `--lanes=4 --nohuge_pages` gives lanes,
// huge_pages. Before absl::ParseCommandLine: that does not tell what was given from what is
// default.
std::vector<std::string> GivenFlags(int argc, const char* const* argv);

// The file that --config names, then the given flags, checked. After absl::ParseCommandLine.
absl::StatusOr<NodeConfig> ConfigFromFlags(const std::vector<std::string>& given);

bool CheckConfigOnly();

}  // namespace cistern::cacheserver
