// The lane's turn on another thread.
#include <algorithm>
#include <chrono>
#include <utility>

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"

#include "transport/rpc/lane.h"

namespace cistern::transport {
namespace {

constexpr size_t kUsualFds = 4;  // a link has one hook
constexpr size_t kEventsPerLook = 32;
// Longest sleep of who attends: word that the lane stops may have been taken with the mail. No
// call is to be later than that after its deadline.
constexpr std::chrono::milliseconds kGlance(10);

// 0: not at all.
void SetGuard(int fd, Lookout::Micros in) {
  const itimerspec when = {.it_interval = {},
                           .it_value = {.tv_sec = 0, .tv_nsec = in.count() * 1000}};
  timerfd_settime(fd, 0, &when, nullptr);
}

}  // namespace

// The turn is free for others while the lane's thread blocks here.
int Lane::Sleep(int wait_ms) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (wait_ms == 0) return WaitForEvents(0);
  if (wanted_.exchange(false, std::memory_order_acq_rel)) WatchHooks();
  return SleepWithoutTurn(wait_ms);
}

// Who asks looks for the turn once more after he has asked: one of the two sees the other.
int Lane::SleepWithoutTurn(int wait_ms) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  sleeps_until_ = timers_.empty() ? kNever : timers_.begin()->first.first;
  turn_.Unlock();
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (asked_.load(std::memory_order_relaxed)) {
    base::MutexLock lock(&hand_over_);
    asked_.store(false, std::memory_order_relaxed);
    handed_over_.notify_all();
  }
  const int num_events = WaitForEvents(wait_ms);
  turn_.Lock();
  thread_id_.store(own_id_, std::memory_order_release);
  return num_events;
}

int Lane::WaitForEvents(int wait_ms) {
  return epoll_wait(epoll_fd_, events_.data(), static_cast<int>(events_.size()), wait_ms);
}

// As if another thread's turn had just ended: the hooks are his.
void Lane::HandOver() {
  UnwatchHooks();
  turn_ended_ = MonoNow();
  if (const int wait_ms = WaitMs(); wait_ms != 0) {
    Dispatch(events_.data(), SleepWithoutTurn(wait_ms));
  }
}

Lane::Turn Lane::TryTakeTurn() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (OnLaneThread()) return Turn::kNotToBeHad;
  if (!turn_.TryLock()) return Turn::kBusy;
  if (mailbox_.closed() || hooks_.empty()) {
    turn_.Unlock();
    return Turn::kNotToBeHad;
  }
  thread_id_.store(std::this_thread::get_id(), std::memory_order_release);
  attended_.store(true, std::memory_order_relaxed);
  UnwatchHooks();
  return Turn::kTaken;
}

// The lane's thread lets the turn go at the end of its round; others keep it for as long as they
// wait.
Lane::Turn Lane::AskForTurn(MonoTime until) {
  if (attended_.load(std::memory_order_relaxed)) return Turn::kBusy;
  base::MutexLock lock(&hand_over_);
  asked_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  Turn turn = TryTakeTurn();
  if (turn == Turn::kBusy) {
    const auto no_longer = std::min(until, MonoNow() + kHandsOverWithin);
    handed_over_.wait_until(hand_over_, no_longer,
                            [this] { return !asked_.load(std::memory_order_relaxed); });
    turn = TryTakeTurn();
  }
  asked_.store(false, std::memory_order_relaxed);
  return turn;
}

// For who waits elsewhere the lane is left as its thread would leave it before it sleeps.
void Lane::EndTurn() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  bool wake = !timers_.empty() && timers_.begin()->first.first < sleeps_until_;
  if (wanted_.exchange(false, std::memory_order_acq_rel)) {
    WatchHooks();
    wake |= !ArmHooks(/*at_once=*/true);
  }
  if (!watches_hooks_) ArmGuard(true);
  wake |= mailbox_.closed();  // whose signal may have been taken with the mail
  turn_ended_ = MonoNow();
  attended_.store(false, std::memory_order_relaxed);
  thread_id_.store(own_id_, std::memory_order_release);
  turn_.Unlock();
  if (wake) mailbox_.Wake();
}

bool Lane::TryRun(absl::FunctionRef<void()> task) {
  if (TryTakeTurn() != Turn::kTaken) return false;
  task();
  ProgressHooks();
  EndTurn();
  return true;
}

void Lane::Attend(absl::FunctionRef<bool()> done, MonoTime until) {
  Turn turn = TryTakeTurn();
  if (turn == Turn::kBusy) turn = AskForTurn(until);
  if (turn != Turn::kTaken) {
    wanted_.store(true, std::memory_order_release);
    return;
  }
  while (!done() && AttendOnce(until) && MonoNow() < until) {
  }
  EndTurn();
}

absl::Status Lane::AddGuard() {
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no descriptor for a lane's timer: ", strerror(errno)));
  }
  absl::StatusOr<FdToken> token = AddFd(fd, EPOLLIN, [this](uint32_t) { OnGuard(); });
  if (token.ok()) {
    guard_ = *token;
  } else {
    close(fd);
  }
  return token.status();
}

void Lane::UnwatchHooks() {
  if (!std::exchange(watches_hooks_, false)) return;
  for (const Hook& one : hooks_) SetEvents(one.fd, 0);
  ArmGuard(true);
}

void Lane::WatchHooks() {
  if (std::exchange(watches_hooks_, true)) return;
  for (const Hook& one : hooks_) SetEvents(one.fd, EPOLLIN);
  ArmGuard(false);
}

void Lane::ArmGuard(bool arm) {
  if (std::exchange(guard_armed_, arm) == arm) return;
  SetGuard(guard_.fd, arm ? kReturnsWithin : Lookout::Micros(0));
}

// On the lane's thread, or on one that attends and so is there.
void Lane::OnGuard() {
  if (watches_hooks_ || !guard_armed_) return SetGuard(guard_.fd, Lookout::Micros(0));  // stale
  const auto since = std::chrono::duration_cast<Lookout::Micros>(MonoNow() - turn_ended_);
  const bool attended = std::this_thread::get_id() != own_id_;
  if (attended) {
    SetGuard(guard_.fd, kReturnsWithin);
  } else if (since < kReturnsWithin) {
    SetGuard(guard_.fd, kReturnsWithin - since);
  } else {
    WatchHooks();
  }
}

bool Lane::AttendOnce(MonoTime until) {
  if (mailbox_.closed()) return false;
  const bool ran = (std::exchange(mail_waits_, false) || mailbox_.waits()) && RunPosted();
  const bool progressed = ProgressHooks();
  RunTimers();
  if (!ran && !progressed && ArmHooks(/*at_once=*/false)) AwaitHooks(until);
  return true;
}

// Sleeps until a hook has work, or anything else that the lane watches comes, and serves the
// latter.
void Lane::AwaitHooks(MonoTime until) {
  ArmGuard(false);
  absl::InlinedVector<pollfd, kUsualFds> fds = {{.fd = epoll_fd_, .events = POLLIN, .revents = 0}};
  for (const Hook& one : hooks_) fds.push_back({.fd = one.fd.fd, .events = POLLIN, .revents = 0});
  const MonoTime now = MonoNow();
  MonoTime wake = std::min(until, now + kGlance);
  if (!timers_.empty()) wake = std::min(wake, timers_.begin()->first.first);
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(std::max(wake, now) - now);
  poll(fds.data(), fds.size(), static_cast<int>(wait.count()));
  if (fds[0].revents == 0) return;
  epoll_event events[kEventsPerLook];
  Dispatch(events, epoll_wait(epoll_fd_, events, kEventsPerLook, 0));
}

}  // namespace cistern::transport
