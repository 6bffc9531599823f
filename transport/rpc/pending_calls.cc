#include "transport/rpc/pending_calls.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::transport {
namespace {

constexpr size_t kKeepDue = 64;  // below this many, taken deadlines may stay

}  // namespace

PendingCalls::~PendingCalls() {
  for (PendingCall& call : Close(absl::CancelledError("the link was closed"))) {
    call.done(absl::CancelledError("the link was closed"));
  }
}

absl::StatusOr<uint64_t> PendingCalls::Add(PendingCall& call) {
  base::MutexLock lock(&mutex_);
  if (!closed_.ok()) return closed_;
  if (calls_.size() >= max_in_flight_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        calls_.size(), " calls are in flight on this link, as many as it allows; wait for some"));
  }
  call.call_id = next_id_++;
  due_.emplace_back(call.deadline, call.call_id);
  std::push_heap(due_.begin(), due_.end(), std::greater<>());
  const uint64_t call_id = call.call_id;
  calls_.emplace(call_id, std::move(call));
  return call_id;
}

std::optional<PendingCall> PendingCalls::Take(uint64_t call_id) {
  base::MutexLock lock(&mutex_);
  const auto it = calls_.find(call_id);
  if (it == calls_.end()) return std::nullopt;
  PendingCall call = std::move(it->second);
  calls_.erase(it);
  ForgetTakenDeadlines();
  return call;
}

std::vector<PendingCall> PendingCalls::TakeExpired(MonoTime now) {
  std::vector<PendingCall> expired;
  base::MutexLock lock(&mutex_);
  while (!due_.empty() && due_.front().first <= now) {
    const auto it = calls_.find(due_.front().second);
    std::pop_heap(due_.begin(), due_.end(), std::greater<>());
    due_.pop_back();
    if (it == calls_.end()) continue;
    expired.push_back(std::move(it->second));
    calls_.erase(it);
  }
  return expired;
}

bool PendingCalls::PutBack(PendingCall& call) {
  base::MutexLock lock(&mutex_);
  if (!closed_.ok()) return false;
  due_.emplace_back(call.deadline, call.call_id);
  std::push_heap(due_.begin(), due_.end(), std::greater<>());
  const uint64_t call_id = call.call_id;
  calls_.emplace(call_id, std::move(call));
  return true;
}

std::vector<PendingCall> PendingCalls::Close(absl::Status status) {
  std::vector<PendingCall> left;
  base::MutexLock lock(&mutex_);
  if (closed_.ok()) closed_ = std::move(status);
  left.reserve(calls_.size());
  for (auto& [call_id, call] : calls_) left.push_back(std::move(call));
  calls_.clear();
  due_.clear();
  std::sort(left.begin(), left.end(),
            [](const PendingCall& a, const PendingCall& b) { return a.call_id < b.call_id; });
  return left;
}

MonoTime PendingCalls::NextDeadline() {
  base::MutexLock lock(&mutex_);
  while (!due_.empty() && !calls_.contains(due_.front().second)) {
    std::pop_heap(due_.begin(), due_.end(), std::greater<>());
    due_.pop_back();
  }
  return due_.empty() ? kNever : due_.front().first;
}

size_t PendingCalls::size() {
  base::MutexLock lock(&mutex_);
  return calls_.size();
}

// Keeps the heap in proportion to the calls that wait, at a constant cost per call.
void PendingCalls::ForgetTakenDeadlines() {
  if (due_.size() < kKeepDue || due_.size() < 2 * calls_.size()) return;
  std::erase_if(due_, [this](const Due& due)
                          ABSL_NO_THREAD_SAFETY_ANALYSIS { return !calls_.contains(due.second); });
  std::make_heap(due_.begin(), due_.end(), std::greater<>());
}

}  // namespace cistern::transport
