// What `cistern-server --help` prints: what it is, how it is started, every setting.
#pragma once

#include <string>

namespace cistern::cacheserver {

bool WantsHelp(int argc, const char* const* argv);
std::string HelpPage();

}  // namespace cistern::cacheserver
