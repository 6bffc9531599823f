// A service for tests of carriers: answers by simple rules, can hold calls back, and counts what it
// is told.
//
//   Admin     the reply's json is the request's model_name
//   Find      one miss per item
//   Write     takes the payload; it is Payload(checksum) or the reply is DataLoss
//   Read      sends Payload(layer_begin) of layer_end bytes, with its checksum
//   others    Unimplemented
//
// Thread   any
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"

#include "base/mutex.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {

// `bytes` bytes that depend on `seed`.
std::vector<std::byte> Payload(uint64_t seed, size_t bytes);

class TestService final : public Service {
 public:
  // Calls that come from now on wait until Release.
  void Hold();
  // Answers what waits, oldest first, on the calling thread, and holds no more.
  void Release();
  // Waits until `count` calls are held back; false after ten seconds.
  bool WaitForHeld(size_t count);
  // Takes the held calls out, unanswered.
  std::vector<std::unique_ptr<ServerCall>> TakeHeld();

  bool WaitForOpen(size_t count);    // sessions that are open now
  bool WaitForClosed(size_t count);  // all that have ever closed
  size_t opened() const;
  size_t closed() const;
  SessionInfo last_info() const;
  bool protocol_kept() const;  // OnOpen (OnCall)* OnClose, per session

  // Answers one call as the rules say.
  static void Answer(std::unique_ptr<ServerCall> call);

  void OnOpen(SessionId session, const SessionInfo& info) override;
  void OnCall(std::unique_ptr<ServerCall> call) override;
  void OnClose(SessionId session) override;

 private:
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  bool hold_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::unique_ptr<ServerCall>> held_ ABSL_GUARDED_BY(mutex_);
  std::map<SessionId, bool> sessions_ ABSL_GUARDED_BY(mutex_);  // false = closed
  SessionInfo last_info_ ABSL_GUARDED_BY(mutex_);
  size_t open_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t closed_ ABSL_GUARDED_BY(mutex_) = 0;
  bool protocol_kept_ ABSL_GUARDED_BY(mutex_) = true;
};

// Gathers the results of calls that are made without waiting for each.
class Results {
 public:
  // A completion that files its result under the next index.
  Completion Next();
  // Waits until every Next has been completed; false after thirty seconds.
  bool WaitForAll();
  size_t completed() const;
  // After WaitForAll. Each by the order of Next.
  const absl::StatusOr<Reply>& at(size_t index) const;
  size_t completed_twice() const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_ = NewShared();
  static std::shared_ptr<Shared> NewShared();
};

// The three calls that most tests make.
absl::StatusOr<std::string> Echo(Link& link, std::string text,
                                 absl::Duration deadline = absl::Seconds(10));
absl::Status WritePayload(Link& link, const std::vector<std::vector<std::byte>>& pieces,
                          uint64_t seed);
absl::StatusOr<std::vector<std::byte>> ReadPayload(Link& link, uint32_t seed, uint32_t bytes,
                                                   uint32_t pieces = 1);

}  // namespace cistern::transport
