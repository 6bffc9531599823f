// In the place of redis_client.cc where hiredis was not there to build with.
#include "tools/bench/peers/peer_client.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<PeerClient>> ConnectRedis(const PeerAddress&) {
  return absl::FailedPreconditionError(
      "this program was built without hiredis: install the Debian package libhiredis-dev and "
      "build again, or leave redis out of --peers");
}

}  // namespace cistern::tools
