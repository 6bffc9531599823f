// One connection to a peer, through the client library that its users take.
//
//   hiredis        Redis. Values go out in a command that is formatted in a buffer of its own,
//                  so that hiredis copies them once and not twice
//   libmemcached   memcached. Values come into a result that keeps its memory
//
// Thread   one at a time
// Errors   Unavailable: the server has gone, or does not answer within kPeerPatience.
// FailedPrecondition: it refuses the value. NotFound: it has no such value
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "tools/bench/peers/peer_server.h"

namespace cistern::tools {

inline constexpr absl::Duration kPeerPatience = absl::Seconds(10);

class PeerClient {
 public:
  using Fill = absl::FunctionRef<void(std::byte* value)>;
  using Take = absl::FunctionRef<void(const std::byte* value)>;

  // FailedPrecondition, with the package to install: this program was built without the library.
  static absl::StatusOr<std::unique_ptr<PeerClient>> Connect(PeerKind kind, const PeerAddress& at);
  virtual ~PeerClient() = default;

  // `fill` writes the value's `bytes` bytes.
  virtual absl::Status Set(absl::string_view key, uint64_t bytes, Fill fill) = 0;
  // `take` gets the value. DataLoss: it has another size than `bytes`.
  virtual absl::Status Get(absl::string_view key, uint64_t bytes, Take take) = 0;
  virtual absl::Status Delete(absl::string_view key) = 0;
};

absl::StatusOr<std::unique_ptr<PeerClient>> ConnectRedis(const PeerAddress& at);
absl::StatusOr<std::unique_ptr<PeerClient>> ConnectMemcached(const PeerAddress& at);

}  // namespace cistern::tools
