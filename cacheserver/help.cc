#include "cacheserver/help.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

#include "cacheserver/config.h"

namespace cistern::cacheserver {
namespace {

constexpr size_t kWidth = 96;
constexpr size_t kIndent = 6;

constexpr char kIntroduction[] =
    R"(cistern-server: one node of a cache for what LLM inference workers compute

  cistern-server --unix_socket=/tmp/cistern.sock --pool_bytes=4GiB
      Memory only, for the workers of this host.
  cistern-server --disk_path=/var/lib/cistern --flush_on_stop
      With a disk tier below memory; a restart serves what is there.
  cistern-server --config=/etc/cistern/cistern.json --ucx_address=0.0.0.0:7411
      From a file (flags win over it), also for workers of other hosts, over RDMA or TCP.

Workers connect with the client library; `cistern status` shows what the node does.
SIGTERM or SIGINT stop it: calls in progress end, and memory is written to disk if
--flush_on_stop says so. A second signal stops it at once.
Exit code: 0 stopped as asked; 1 the node could not start; 2 wrong flags or configuration;
130 stopped at once.

Flags
  --config=PATH
      a configuration file: one JSON object, comments allowed, the names below as keys
  --check_config
      print the whole configuration that file and flags make, or what is wrong with it, and end
  --version, --help

Settings, as flags or in the file; sizes as 512MiB, durations as 30s, --noNAME for false
)";

// Words of `text`, in lines of kWidth.
std::string Wrapped(absl::string_view text) {
  const std::string indent(kIndent, ' ');
  std::string out = indent;
  size_t column = kIndent;
  while (!text.empty()) {
    const absl::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (column > kIndent && column + word.size() > kWidth) {
      absl::StrAppend(&out, "\n", indent);
      column = kIndent;
    }
    absl::StrAppend(&out, column > kIndent ? " " : "", word);
    column += word.size() + 1;
  }
  return out + "\n";
}

}  // namespace

bool WantsHelp(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view word = argv[i];
    if (word == "--help" || word == "-help" || word == "-h") return true;
  }
  return false;
}

std::string HelpPage() {
  std::string page = kIntroduction;
  const NodeConfig defaults;
  for (const ConfigField& field : ConfigFields()) {
    const std::string value = field.get(defaults);
    absl::StrAppend(&page, "  --", field.name, "=", value.empty() ? "\"\"" : value, "\n",
                    Wrapped(field.help));
  }
  return page;
}

}  // namespace cistern::cacheserver
