// In the place of memcached_client.cc where libmemcached was not there to build with.
#include "tools/bench/peers/peer_client.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<PeerClient>> ConnectMemcached(const PeerAddress&) {
  return absl::FailedPreconditionError(
      "this program was built without libmemcached: install the Debian package libmemcached-dev "
      "and "
      "build again, or leave memcached out of --peers");
}

}  // namespace cistern::tools
