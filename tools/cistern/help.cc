#include "tools/cistern/help.h"

#include "absl/strings/str_format.h"

namespace cistern::tools {
namespace {

struct Text {
  absl::string_view name;
  absl::string_view arguments;
  absl::string_view line;
  absl::string_view more;
};

constexpr Text kCommands[] = {
    {"status", "", "what the node is, holds, and does",
     "Memory and disk in use, what decides who goes when memory is full, lookups and how many "
     "hit,\n"
     "calls and errors, who is connected with how many leases and reservations, and, where "
     "tenants\n"
     "have quotas or priorities, what each of them has.\n"},
    {"models", "", "the models it knows",
     "A model's fingerprint seeds all its keys: other weights, layout or rotary settings, other\n"
     "keys. Workers register models; a node remembers them on disk.\n"},
    {"ls", "[--model M] [--tenant SALT] [--key KEY] [--limit N] [--from ID]", "the objects it has",
     "Oldest first, 1000 at most unless --limit says otherwise. M is a name or a fingerprint;\n"
     "for SALT a tenant's number (0x...), as status and inspect show it, will do, too.\n"
     "What a listing left out begins at the ID that it names (\"next\" in JSON).\n"},
    {"inspect", "KEY", "all about the objects with a content or context key",
     "A content key may have several objects: the same text in several contexts.\n"},
    {"evict", "--key KEY | --model M | --tenant SALT | --all", "drop objects, from memory and disk",
     "What is leased or pinned stays, and is counted. Several restrictions together must all "
     "hold.\n"
     "Exit code 1 when no object has the key.\n"},
    {"pin", "KEY", "keep objects: they are never evicted",
     "Pinned objects take memory until they are unpinned. A pin ends with the node.\n"},
    {"unpin", "KEY", "let them go again", "The opposite of pin.\n"},
    {"verify", "[--model M] [--tenant SALT] [--key KEY]", "check every checksum again",
     "Reads all records from disk, compares with memory what lies in both, and checks the node's\n"
     "own invariants. What is damaged on disk and not in memory is dropped. Exit code 4 when\n"
     "anything was wrong. Takes as long as reading the disk; --deadline is for a page of it.\n"},
    {"flush", "", "write to disk what lies in memory only",
     "Afterwards a killed node loses nothing. Exit code 4 when something could not be written.\n"},
};

constexpr char kFlags[] =
    "Flags\n"
    "  --address ADDRESS   unix:PATH or host:port (default: $CISTERN_ADDRESS, or\n"
    "                      unix:/run/cistern/node.sock)\n"
    "  --deadline TIME     how long to wait for an answer, such as 500ms or 1m (default 10s)\n"
    "  --json              the answer as one JSON object\n";

}  // namespace

std::string GeneralHelp() {
  std::string text =
      "cistern: look into a cache node and give it orders\n\n"
      "  cistern status\n"
      "  cistern --address unix:/tmp/cistern.sock ls --limit 20\n"
      "  cistern evict --model deepseek-ai/DeepSeek-V2-Lite --json\n\n"
      "Commands\n";
  for (const Text& command : kCommands)
    absl::StrAppendFormat(&text, "  %-10s %s\n", command.name, command.line);
  return text + "  help       this text; `cistern help COMMAND` explains one\n\n" + kFlags +
         "\nExit code: 0 done; 1 the node refused or has no such thing; 2 wrong usage; 3 no node "
         "answers;\n4 verify found something wrong, or flush left something unwritten.\n";
}

std::string CommandHelp(absl::string_view name) {
  for (const Text& command : kCommands) {
    if (command.name != name) continue;
    return absl::StrFormat("cistern %s: %s\n\n  cistern %s %s\n\n%s\n%s", command.name,
                           command.line, command.name, command.arguments, command.more, kFlags);
  }
  return "";
}

}  // namespace cistern::tools
