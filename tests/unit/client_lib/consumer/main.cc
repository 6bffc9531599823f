// Exits with 0 when the installed client links, runs, and says that no node is there.
#include "cistern/client.h"

int main() {
  cistern::ClientOptions options;
  options.address = "unix:/nonexistent/node.sock";
  options.connect_timeout = absl::Milliseconds(50);
  return absl::IsUnavailable(cistern::Client::Connect(options).status()) ? 0 : 1;
}
