#include "transport/rpc/lane.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <string>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "transport/rpc/once.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kMailboxId = 0;
constexpr size_t kEventsPerWait = 128;

absl::Status EpollAdd(int epoll_fd, int fd, uint32_t events, uint64_t id) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = id;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("epoll cannot watch one more descriptor: ", strerror(errno)));
}

}  // namespace

Lane::Lane(int epoll_fd) : epoll_fd_(epoll_fd), mailbox_(kMaxPosts), events_(kEventsPerWait) {}

absl::StatusOr<std::unique_ptr<Lane>> Lane::Start(absl::string_view name) {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) {
    return absl::ResourceExhaustedError(absl::StrCat("no descriptor for a lane: ", strerror(errno),
                                                     "; raise the limit (ulimit -n)"));
  }
  std::unique_ptr<Lane> lane(new Lane(epoll_fd));
  const absl::Status watched = EpollAdd(epoll_fd, lane->mailbox_.fd(), EPOLLIN, kMailboxId);
  if (!watched.ok()) return watched;
  lane->thread_ = std::thread([lane = lane.get()] { lane->Loop(); });
  pthread_setname_np(lane->thread_.native_handle(), std::string(name.substr(0, 15)).c_str());
  return lane;
}

Lane::~Lane() {
  Stop();
  if (guard_.id != 0) close(guard_.fd);
  close(epoll_fd_);
}

void Lane::Stop() {
  base::MutexLock lock(&stop_mutex_);
  if (!thread_.joinable()) return;
  assert(!OnLaneThread());
  mailbox_.Close();
  thread_.join();
}

bool Lane::Post(Task task) { return mailbox_.Push(std::move(task)); }

bool Lane::RunAndWait(absl::AnyInvocable<void()> task) {
  if (OnLaneThread()) {
    task();
    return true;
  }
  base::Mutex mutex;
  base::CondVar done;
  bool finished = false;
  bool ran = false;
  // The Sent is destroyed with the task, run or not, and only after it.
  Sent finish([&] {
    base::MutexLock lock(&mutex);
    finished = true;
    done.notify_all();
  });
  Post([&ran, task = std::move(task), finish = std::move(finish)]() mutable {
    task();
    ran = true;
    finish();
  });
  base::MutexLock lock(&mutex);
  done.wait(mutex, [&] { return finished; });
  return ran;
}

absl::StatusOr<Lane::FdToken> Lane::AddFd(int fd, uint32_t events, FdHandler handler) {
  assert(OnLaneThread());
  const FdToken token{fd, next_id_++};
  const absl::Status watched = EpollAdd(epoll_fd_, fd, events, token.id);
  if (!watched.ok()) return watched;
  handlers_[token.id] = std::make_shared<FdHandler>(std::move(handler));
  return token;
}

void Lane::RemoveFd(const FdToken& token) {
  assert(OnLaneThread());
  if (handlers_.erase(token.id) != 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, token.fd, nullptr);
}

void Lane::SetEvents(const FdToken& token, uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = token.id;
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, token.fd, &event);
}

Lane::TimerId Lane::AddTimer(MonoTime when, Task task) {
  assert(OnLaneThread());
  const TimerId id = next_id_++;
  timers_.emplace(std::pair(when, id), std::move(task));
  timer_times_[id] = when;
  return id;
}

void Lane::CancelTimer(TimerId id) {
  assert(OnLaneThread());
  const auto it = timer_times_.find(id);
  if (it == timer_times_.end()) return;
  timers_.erase({it->second, id});
  timer_times_.erase(it);
}

absl::Status Lane::AddPollHook(PollHook* hook, int fd) {
  if (guard_.id == 0) {
    if (absl::Status added = AddGuard(); !added.ok()) return added;
  }
  const absl::StatusOr<FdToken> token = AddFd(fd, EPOLLIN, [](uint32_t) {});
  if (token.ok()) hooks_.push_back({hook, *token});
  return token.status();
}

void Lane::RemovePollHook(PollHook* hook) {
  assert(OnLaneThread());
  const auto it = std::ranges::find(hooks_, hook, &Hook::hook);
  if (it == hooks_.end()) return;
  RemoveFd(it->fd);
  hooks_.erase(it);
}

void Lane::Loop() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  own_id_ = std::this_thread::get_id();
  turn_.Lock();
  thread_id_.store(own_id_, std::memory_order_release);
  bool closing = false;
  while (true) {
    bool busy = false;
    if (std::exchange(mail_waits_, false)) {
      closing = mailbox_.closed();  // it takes nothing more: what is drained after this is the last
      busy = RunPosted();
      // Closed since it was asked: the drain may have taken that signal as well.
      if (!closing && mailbox_.closed()) mail_waits_ = busy = true;
    }
    if (closing && !busy) return turn_.Unlock();
    mail_waits_ |= closing;
    busy |= ProgressHooks();
    RunTimers();
    if (!closing && asked_.load(std::memory_order_acquire)) {
      HandOver();
      continue;
    }
    const int wait_ms = busy || !ArmHooks(/*at_once=*/false) ? 0 : WaitMs();
    const int num_events = Await(wait_ms);
    Dispatch(events_.data(), num_events);
  }
}

int Lane::Await(int wait_ms) {
  if (wait_ms == 0 || !std::exchange(expects_, false)) return Sleep(wait_ms);
  int num_events = 0;
  if (lookout_.Begin(/*allowed=*/true)) {
    do num_events = Sleep(0);
    while (num_events == 0 && lookout_.Again());
  }
  if (num_events == 0) num_events = Sleep(wait_ms);
  if (num_events > 0) lookout_.Came();
  return num_events;
}

bool Lane::RunPosted() {
  mailbox_.Drain(&batch_);
  for (Task& task : batch_) {
    task();
    task = nullptr;  // what it held goes now, on this thread
  }
  const bool ran = !batch_.empty();
  batch_.clear();
  return ran;
}

bool Lane::ProgressHooks() {
  bool any = false;
  for (const Hook& one : hooks_) any |= one.hook->Progress();
  return any;
}

bool Lane::ArmHooks(bool at_once) {
  return std::ranges::all_of(hooks_, [&](const Hook& one) { return one.hook->Arm(at_once); });
}

void Lane::RunTimers() {
  if (timers_.empty()) return;
  const MonoTime now = MonoNow();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    timer_times_.erase(node.key().second);
    node.mapped()();
  }
}

int Lane::WaitMs() const {
  if (timers_.empty() || timers_.begin()->first.first == kNever) return -1;
  const auto wait =
      std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first.first - MonoNow());
  return static_cast<int>(std::clamp<int64_t>(wait.count(), 0, 60'000));
}

void Lane::Dispatch(const epoll_event* events, int num_events) {
  for (int i = 0; i < num_events; ++i) {
    if (events[i].data.u64 == kMailboxId) mail_waits_ = true;
    const auto it = handlers_.find(events[i].data.u64);
    if (it == handlers_.end()) continue;                    // the mailbox, or removed since
    const std::shared_ptr<FdHandler> handler = it->second;  // it may remove itself
    (*handler)(events[i].events);
  }
}

}  // namespace cistern::transport
