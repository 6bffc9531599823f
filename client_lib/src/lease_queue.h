// Leases for objects that a plan does not hold yet: those beside gaps, and those on disk. A window
// at a time, so that a node with a small pool is never asked to hold more than it can.
//
// Windows of what lies on disk are small, and several are asked for at once: the node reads the
// next ones while the caller moves what has come.
//
//   (Start ─► Finish+)* until done()
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

#include "absl/status/statusor.h"
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
  // Whether Finish would answer at once, with something.
  bool ready() const { return !windows_.empty() && windows_.front().call->Ended(); }

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
    absl::Duration took;   // since it was asked for, or since the answer before this one
  };
  // Of the window that was asked for first; there must be one.
  Answer Finish();

 private:
  struct Window {
    std::vector<uint32_t> objects;
    uint64_t bytes = 0;
    bool holding = false;  // leases that go back while it is asked for
    absl::Time asked;
    std::shared_ptr<PendingCall> call;
  };

  bool MayStart() const;
  void StartOne(bool holding, absl::Time until);
  void Sort(const Window& window, const transport::LeaseReply& reply, Answer* answer);
  void NoRoom(std::vector<uint32_t> without_room, bool progress, Answer* answer);

  Session* const session_;
  PlanImpl* const plan_;
  std::deque<uint32_t> waiting_;
  std::deque<Window> windows_;  // asked for now
  absl::Time last_answer_ = absl::InfinitePast();
  uint32_t max_window_ = transport::kMaxItems;
  uint32_t max_calls_ = kMaxCalls;
  uint32_t stalls_ = 0;
};

}  // namespace cistern::client
