// The commands of `cistern`, and the words that explain them.
//
// Exit codes   0 done; 1 the node refused or has no such thing; 2 wrong usage; 3 no node answers;
//              4 verify found something wrong, or flush left something unwritten
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cistern::tools {

enum ExitCode : int { kDone = 0, kRefused = 1, kUsage = 2, kNoNode = 3, kDamage = 4 };

// What the command line said. Empty = not given.
struct CommandLine {
  std::string address;
  absl::Duration deadline = absl::Seconds(10);
  bool json = false;
  std::vector<std::string> words;  // the command first
  std::string key;
  std::string model;
  std::string tenant;
  bool has_tenant = false;
  bool all = false;
  uint32_t limit = 0;
  uint64_t from = 0;  // ls: where the last listing ended ("next" in its JSON)
};

// Runs one command: results to standard output, complaints to standard error.
ExitCode RunCommand(const CommandLine& line);

// unix:/run/cistern/node.sock, or what $CISTERN_ADDRESS says.
std::string DefaultAddress();

}  // namespace cistern::tools
