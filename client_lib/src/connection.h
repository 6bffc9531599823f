// The client's session with its node, and another one after it has died.
//
// A dead link costs nobody more than one deadline: Current answers at once, with Unavailable, while
// a new connection is tried in the background. (For a node that is only slow: breaker.h.) Attempts
// are apart by a wait that doubles, jittered, from reconnect_backoff to 30 s. An attempt is over
// when the session before it is gone as well: closing that may take as long as its link likes, on
// the attempt's thread, never on a caller's.
//
// Thread   any. No call waits for an attempt; only the destructor does
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/session.h"
#include "transport/link.h"

namespace cistern::client {

using Connector = std::function<absl::StatusOr<std::unique_ptr<transport::Link>>()>;

struct ConnectionOptions {
  absl::Duration call_deadline = absl::Seconds(5);
  uint64_t max_staging_bytes = 256ull << 20;
  absl::Duration backoff = absl::Seconds(1);
  uint64_t seed = 0;  // of the jitter
};

class Connection {
 public:
  static constexpr absl::Duration kMaxBackoff = absl::Seconds(30);

  // `connector` may be null: then a dead link stays the last one. `clock` and `counters` outlive
  // the connection.
  Connection(std::unique_ptr<transport::Link> link, Connector connector,
             const ConnectionOptions& options, const base::Clock* clock, Counters* counters);
  ~Connection();  // waits for an attempt under way, at most connect_timeout

  // Unavailable: the node is gone, and nobody has answered since.
  absl::StatusOr<std::shared_ptr<Session>> Current();

 private:
  std::shared_ptr<Session> NewSession(std::unique_ptr<transport::Link> link) const;
  void StartAttempt() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Attempt();
  // The session that the attempt has replaced, if it has: to be dropped outside the lock.
  std::shared_ptr<Session> Settle(absl::StatusOr<std::unique_ptr<transport::Link>> link)
      ABSL_LOCKS_EXCLUDED(mutex_);

  const Connector connector_;
  const ConnectionOptions options_;
  const base::Clock* const clock_;
  Counters* const counters_;
  base::Mutex mutex_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool attempting_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time next_attempt_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_error_ ABSL_GUARDED_BY(mutex_);
  std::minstd_rand random_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
