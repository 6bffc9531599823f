// Leases for objects that a plan does not hold yet: those beside gaps, and those on disk. In
// windows: those of what lies on disk are small, and several are asked for at once, so that the
// node reads the next ones while the caller moves what has come.
//
//   (Start ─► Finish)* until done()
//
// Windows are answered in any order. What has come is given out before anything is waited for: a
// window may wait for the very room that another one holds.
//
// When there is no room the window halves, and only one is asked for at a time; what finds no room
// although nothing else is held is given up after a few tries.
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "client_lib/src/pending_call.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/session.h"

namespace cistern::client {

class LeaseQueue {
 public:
  static constexpr uint64_t kWindowBytes = 64 << 20;
  static constexpr uint64_t kDiskWindowBytes = 2 << 20;
  static constexpr uint64_t kAheadBytes = 16 << 20;  // no further window when so much is asked for
  static constexpr uint32_t kMaxCalls = 8;
  static constexpr uint32_t kMaxStalls = 6;

  // `wanted`: indexes into the plan's objects.
  LeaseQueue(Session* session, PlanImpl* plan, const std::vector<uint32_t>& wanted);
  ~LeaseQueue();  // leases that are still to come go back when they come
  LeaseQueue(const LeaseQueue&) = delete;
  LeaseQueue& operator=(const LeaseQueue&) = delete;

  bool done() const { return waiting_.empty() && windows_.empty(); }
  // Asks for the next windows. `holding`: this fetch holds leases now, which it will give back.
  void Start(bool holding, absl::Time until);

  struct Answer {
    struct Leased {
      uint32_t object = 0;
      bool from_disk = false;
    };
    std::vector<Leased> leased;  // the plan's object has its lease and blocks
    std::vector<uint32_t> lost;
    absl::Duration pause;  // wait so long before the next Start
  };
  // Of all windows that have been answered; waits until there is one, or nobody wants any more.
  // Something must be asked for.
  Answer Finish(absl::FunctionRef<bool()> wanted);
  // From the first question to the last answer.
  absl::Duration took() const { return last_answer_ - first_asked_; }

 private:
  struct Window {
    std::vector<uint32_t> objects;
    uint64_t bytes = 0;
    bool holding = false;  // leases that go back while it is asked for
    std::shared_ptr<PendingCall> call;
  };

  using Windows = std::deque<Window>;

  bool MayStart() const;
  void StartOne(bool holding, absl::Time until);
  Windows::iterator Ended();
  void Take(Window window, Answer* answer);
  void Sort(const Window& window, const transport::LeaseReply& reply, Answer* answer);
  void NoRoom(std::vector<uint32_t> without_room, bool progress, Answer* answer);

  Session* const session_;
  PlanImpl* const plan_;
  std::deque<uint32_t> waiting_;
  Windows windows_;  // asked for now, the first one first
  const absl::Time first_asked_ = absl::Now();
  absl::Time last_answer_ = first_asked_;
  uint32_t max_window_ = transport::kMaxItems;
  uint32_t max_calls_ = kMaxCalls;
  uint32_t stalls_ = 0;
};

}  // namespace cistern::client
