// cistern: the administrator's tool.
#include <cstdio>
#include <string>
#include <vector>

#include "absl/flags/flag.h"

#include "base/command_line.h"
#include "tools/cistern/commands.h"
#include "tools/cistern/help.h"

ABSL_FLAG(std::string, address, cistern::tools::DefaultAddress(),
          "unix:PATH or host:port of the node");
ABSL_FLAG(absl::Duration, deadline, absl::Seconds(10), "how long to wait for an answer");
ABSL_FLAG(bool, json, false, "print the answer as one JSON object");
ABSL_FLAG(std::string, key, "", "objects with this content or context key");
ABSL_FLAG(std::string, model, "", "objects of this model: its name or fingerprint");
ABSL_FLAG(std::string, tenant, "*",
          "objects of the tenant with this salt or number (0x..., as status shows it); *: of all");
ABSL_FLAG(bool, all, false, "all objects");
ABSL_FLAG(uint32_t, limit, 0, "how many objects to list");
ABSL_FLAG(uint64_t, from, 0, "ls: go on where a listing ended; it says where");

namespace cistern::tools {
namespace {

#ifndef CISTERN_VERSION
#define CISTERN_VERSION "0.0.0"
#endif

bool IsHelp(absl::string_view word) {
  return word == "--help" || word == "-help" || word == "-h" || word == "help";
}

// Help comes before flags are parsed: its text depends on the command.
bool PrintHelp(int argc, char** argv) {
  bool asked = false;
  std::string of_command;
  for (int i = 1; i < argc; ++i) {
    asked |= IsHelp(argv[i]);
    if (of_command.empty()) of_command = CommandHelp(argv[i]);
  }
  if (asked) std::printf("%s", (of_command.empty() ? GeneralHelp() : of_command).c_str());
  return asked;
}

int Main(int argc, char** argv) {
  if (PrintHelp(argc, argv)) return kDone;
  if (base::HasFlag(argc, argv, "version")) {
    std::printf("cistern " CISTERN_VERSION "\n");
    return kDone;
  }
  absl::StatusOr<std::vector<std::string>> words = base::ParseCommandLine(argc, argv);
  if (!words.ok()) {
    std::fprintf(stderr, "cistern: %s\n", std::string(words.status().message()).c_str());
    return kUsage;
  }

  CommandLine line;
  line.words = *std::move(words);
  line.address = absl::GetFlag(FLAGS_address);
  line.deadline = absl::GetFlag(FLAGS_deadline);
  line.json = absl::GetFlag(FLAGS_json);
  line.key = absl::GetFlag(FLAGS_key);
  line.model = absl::GetFlag(FLAGS_model);
  line.has_tenant = absl::GetFlag(FLAGS_tenant) != "*";
  if (line.has_tenant) line.tenant = absl::GetFlag(FLAGS_tenant);
  line.all = absl::GetFlag(FLAGS_all);
  line.limit = absl::GetFlag(FLAGS_limit);
  line.from = absl::GetFlag(FLAGS_from);
  return RunCommand(line);
}

}  // namespace
}  // namespace cistern::tools

int main(int argc, char** argv) { return cistern::tools::Main(argc, argv); }
