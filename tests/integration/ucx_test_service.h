// A service whose bytes are known at both ends: what the UCX tests and their helper process talk
// to.
//
//   Read {bytes, offset, pieces, flags}   the payload is cut from Pattern(), with gaps between
//   pieces
//
//   Write {bytes, offset, pieces, flags}  receives into as many pieces, compares; wrong: DataLoss
//
//   Find {n items}                        n results, for long messages; `match` says what is
//   accepted
//
//   Admin                                 by model_name: "ping", "silent" (never answered), "drop"
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "base/mutex.h"
#include "transport/service.h"

namespace cistern::transport {

inline constexpr uint64_t kPatternBytes = 80ull << 20;

// Flags of a Read or a Write.
inline constexpr uint64_t kFromOtherThread = 1;  // answered from a thread that is not the lane's
inline constexpr uint64_t kWrongChecksum = 2;
// A Write: answers an error and does not take the payload. With kKeepsTheCall it may still do so,
// as far as the transport knows.
inline constexpr uint64_t kTakesNothing = 4;
inline constexpr uint64_t kKeepsTheCall = 8;

// Bytes that are the same in every process and differ from one position to the next.
const std::vector<std::byte>& Pattern();

// `pieces` pieces of the pattern with `bytes` in all, 64 bytes apart.
std::vector<Slice> PatternPieces(uint64_t bytes, uint64_t offset, uint64_t pieces);
// The same cut out of `buffer`, which has PiecesSpan bytes.
std::vector<MutableSlice> BufferPieces(MutableSlice buffer, uint64_t bytes, uint64_t pieces);
uint64_t PiecesSpan(uint64_t bytes, uint64_t pieces);

// Polls until `done`; false after 20 s.
bool Await(const std::function<bool()>& done);

class UcxTestService final : public Service {
 public:
  UcxTestService();
  ~UcxTestService() override;

  void OnOpen(SessionId session, const SessionInfo& info) override;
  void OnCall(std::unique_ptr<ServerCall> call) override;
  void OnClose(SessionId session) override;

  // What has happened so far. Thread: any
  uint64_t opened() const { return opened_; }
  uint64_t closed() const { return closed_; }
  uint64_t sent() const { return sent_; }        // `sent` callbacks of replies
  uint64_t replies() const { return replies_; }  // with a payload, given to the transport
  uint64_t receives_begun() const { return receives_begun_; }
  uint64_t receives_failed() const { return receives_failed_; }
  uint64_t receives_ok() const { return receives_ok_; }
  void DropSilent();  // answers the silent calls by dropping them
  std::string last_peer() const;

 private:
  void Handle(std::shared_ptr<ServerCall> call);
  void Read(ServerCall& call, const ReadRequest& request);
  void Write(const std::shared_ptr<ServerCall>& call, const WriteRequest& request);

  std::atomic<uint64_t> opened_{0};
  std::atomic<uint64_t> closed_{0};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> replies_{0};
  std::atomic<uint64_t> receives_begun_{0};
  std::atomic<uint64_t> receives_failed_{0};
  std::atomic<uint64_t> receives_ok_{0};
  mutable base::Mutex mutex_;
  base::CondVar more_;
  std::set<SessionId> open_ ABSL_GUARDED_BY(mutex_);
  std::string last_peer_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<ServerCall>> silent_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<ServerCall>> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread other_thread_;
};

}  // namespace cistern::transport
