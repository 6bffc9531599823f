// A lane: one thread, one epoll loop, and everything that the loop owns.
//
//   Start ─► (Post | AddFd | AddTimer | AddPollHook ...)* ─► Stop
//
// Servers spread their sessions over lanes; a client's link has one of its own. What lives on a
// lane needs no lock: its file descriptors, timers and poll hooks are touched by the lane's thread
// only. Others talk to it by Post. An idle lane sleeps in epoll_wait: it polls nothing and uses no
// CPU. Whoever serves something that more often follows at once may Expect it: then the lane looks
// for a bounded time before it sleeps (lookout.h).
//
// Hosting a UCX worker: a PollHook whose Progress is ucp_worker_progress and whose Arm is
// ucp_worker_arm, with the worker's event fd. The loop calls Progress until nobody has work, then
// Arm, and blocks only if every hook is armed.
//
// Another thread may take the lane's turn while its own one sleeps: for one task (TryRun), or for
// as long as it waits for something that the lane brings (Attend). That saves waking the lane's
// thread, which costs more than most of what it would do. Whoever has the turn is the lane's thread
// to everything that lives on it. Who had it often takes it again at once: for kReturnsWithin the
// lane's thread is not woken for what its hooks bring; who was turned away meanwhile may have what
// he waits for as much later.
//
// Thread   Post, RunAndWait, TryRun, Attend, SetEvents, OnLaneThread: any. Stop: any but the
//          lane's own. The rest: the lane's own
// Errors   Post returns false once the lane has stopped, or when kMaxPosts tasks wait; the refused
//          task is destroyed, not run (what must run whatever happens is a Sent or Received inside
//          it: once.h)
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/mailbox.h"
#include "base/mutex.h"
#include "transport/rpc/lookout.h"
#include "transport/rpc/mono_time.h"

namespace cistern::transport {

// Something that is polled rather than waited for, such as a UCX worker. Both run on the lane's
// thread.
class PollHook {
 public:
  virtual ~PollHook() = default;
  // Does a bounded piece of the work that is there. True when it did any: it will be called again
  // before the lane blocks.
  virtual bool Progress() = 0;
  // The lane is about to block. True: the hook's fd becomes readable when work comes. False: work
  // is there already, or is expected to come so soon that it does not pay to block; not that if
  // `at_once`.
  virtual bool Arm(bool at_once) = 0;
};

class Lane {
 public:
  // Tasks that wait. More than all calls in flight, since replies are posted too.
  static constexpr size_t kMaxPosts = 1u << 21;

  static constexpr Lookout::Micros kLookFor{50};
  static constexpr Lookout::Micros kReturnsWithin{500};
  static constexpr Lookout::Micros kHandsOverWithin{1000};

  using Task = absl::AnyInvocable<void()>;
  using FdHandler = absl::AnyInvocable<void(uint32_t events)>;

  // Names a registered fd; never reused, so an event that is already on its way to a removed one
  // finds nobody.
  struct FdToken {
    int fd = -1;
    uint64_t id = 0;
  };
  using TimerId = uint64_t;

  // `name` becomes the thread's name (15 characters of it). ResourceExhausted when the process is
  // out of descriptors.
  static absl::StatusOr<std::unique_ptr<Lane>> Start(absl::string_view name);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Runs what has been posted so far, then ends and joins the thread. Timers, fds and hooks that
  // are left are forgotten.
  void Stop();

  bool Post(Task task);

  // Posts and waits until the task has run; on the lane's own thread it just runs it. False when
  // the lane has stopped.
  bool RunAndWait(absl::AnyInvocable<void()> task);

  // Runs the task here if the lane's thread sleeps and nobody else has its turn; false: it has not
  // run.
  bool TryRun(absl::FunctionRef<void()> task);

  // Does the lane's work here until `done` says so, or `until`; the lane's thread, if it has work,
  // hands it over. Returns early when another thread has the turn, or the lane is stopping, or its
  // thread is busy for kHandsOverWithin. Nobody else is woken meanwhile for what the hooks bring.
  void Attend(absl::FunctionRef<bool()> done, MonoTime until);

  bool OnLaneThread() const {
    return std::this_thread::get_id() == thread_id_.load(std::memory_order_acquire);
  }

  // Level-triggered. `handler` may remove its own or any other fd. The fd stays the caller's, who
  // removes it before closing.
  absl::StatusOr<FdToken> AddFd(int fd, uint32_t events, FdHandler handler);
  void RemoveFd(const FdToken& token);
  // The caller makes sure that the fd has not been closed.
  void SetEvents(const FdToken& token, uint32_t events);

  // Runs once, not before `when` and about a millisecond after it at most, if the lane is free.
  TimerId AddTimer(MonoTime when, Task task);
  void CancelTimer(TimerId id);  // of a timer that has run: does nothing

  // More of what has just been served may follow: once there is nothing to do, look for work for up
  // to kLookFor before sleeping, if it came so soon the last time.
  void Expect() { expects_ = true; }

  // The hook is borrowed until removed, its fd too. A hook may not remove hooks from within
  // Progress or Arm (Post it). ResourceExhausted as for AddFd.
  absl::Status AddPollHook(PollHook* hook, int fd);
  void RemovePollHook(PollHook* hook);

 private:
  explicit Lane(int epoll_fd);

  void Loop();
  bool RunPosted();             // true when any ran
  bool ProgressHooks();         // true when any had work
  bool ArmHooks(bool at_once);  // false when one has work
  void RunTimers();
  int WaitMs() const;  // until the next timer; -1 = for ever
  // Between turns of the lane's thread, and around those of others.
  int Sleep(int wait_ms);
  int SleepWithoutTurn(int wait_ms);
  int WaitForEvents(int wait_ms);
  enum class Turn : uint8_t { kTaken, kBusy, kNotToBeHad };
  Turn TryTakeTurn();
  Turn AskForTurn(MonoTime until);
  void EndTurn();
  void HandOver();  // the lane's thread: to who has asked
  void WatchHooks();
  void UnwatchHooks();
  absl::Status AddGuard();
  void ArmGuard(bool arm);
  void OnGuard();
  bool AttendOnce(MonoTime until);  // false: the lane is stopping
  void AwaitHooks(MonoTime until);
  int Await(int wait_ms);  // the number of events that came
  void Dispatch(const epoll_event* events, int num_events);

  const int epoll_fd_;
  base::Mailbox<Task> mailbox_;
  std::thread thread_;
  std::thread::id own_id_;                  // of thread_
  std::atomic<std::thread::id> thread_id_;  // of who has the turn, or had it last
  base::Mutex stop_mutex_;                  // two who stop at once
  base::Mutex turn_;                        // held but while the lane's thread sleeps

  std::atomic<bool> attended_{false};  // another thread than the lane's has the turn
  std::atomic<bool> wanted_{false};    // somebody waits, and could not have the turn
  // Somebody waits for the lane's thread to let it go. Set and cleared under hand_over_.
  std::atomic<bool> asked_{false};
  base::Mutex hand_over_;
  base::CondVar handed_over_;

  // Whoever has the turn.
  MonoTime sleeps_until_;  // the first timer that the lane's thread knew when it fell asleep
  bool watches_hooks_ = true;
  MonoTime turn_ended_;  // of another thread than the lane's
  FdToken guard_;        // a timer: armed while the hooks are not watched, but for long waits
  bool guard_armed_ = false;
  bool mail_waits_ = true;  // the mailbox is to be drained
  std::vector<Task> batch_;
  std::vector<epoll_event> events_;
  absl::flat_hash_map<uint64_t, std::shared_ptr<FdHandler>> handlers_;
  uint64_t next_id_ = 1;  // of fds and timers; 0 is the mailbox
  std::map<std::pair<MonoTime, TimerId>, Task> timers_;
  absl::flat_hash_map<TimerId, MonoTime> timer_times_;
  struct Hook {
    PollHook* hook = nullptr;
    FdToken fd;
  };
  std::vector<Hook> hooks_;
  bool expects_ = false;
  Lookout lookout_{kLookFor};
};

}  // namespace cistern::transport
