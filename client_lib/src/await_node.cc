#include "client_lib/src/await_node.h"

#include <algorithm>

namespace cistern::client {
namespace {

constexpr absl::Duration kFirstLook = absl::Milliseconds(10);
constexpr absl::Duration kLongestPause = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<std::unique_ptr<transport::Link>> AwaitNode(
    absl::Duration patience, const base::Clock& clock, ConnectOnce connect,
    absl::FunctionRef<void(absl::Duration)> pause) {
  const absl::Time until = clock.Now() + patience;
  absl::Duration left = patience;
  for (absl::Duration next = kFirstLook;; next = std::min(2 * next, kLongestPause)) {
    auto link = connect(left);
    if (!absl::IsUnavailable(link.status())) return link;
    left = until - clock.Now();
    if (left <= absl::ZeroDuration()) return link;
    pause(std::min(next, left));
    left = until - clock.Now();
    if (left <= absl::ZeroDuration()) return link;
  }
}

}  // namespace cistern::client
