#include "tools/bench/peers/peer_client.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<PeerClient>> PeerClient::Connect(PeerKind kind,
                                                                const PeerAddress& at) {
  return kind == PeerKind::kRedis ? ConnectRedis(at) : ConnectMemcached(at);
}

}  // namespace cistern::tools
