#include "client_lib/src/lease_queue.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace cistern::client {

namespace {

using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::LeaseResult;

// Between two looks: any of the windows may be answered next, and the caller may go away.
constexpr absl::Duration kWindowGlance = absl::Milliseconds(2);

}  // namespace

LeaseQueue::LeaseQueue(Session* session, PlanImpl* plan, const std::vector<uint32_t>& wanted)
    : session_(session), plan_(plan), waiting_(wanted.begin(), wanted.end()) {}

LeaseQueue::~LeaseQueue() {
  for (const Window& window : windows_) {
    session_->late_book()->Expect();
    window.call->Abandon(
        [late = session_->late_book()](const absl::StatusOr<transport::Reply>& reply) {
          if (reply.ok()) late->Add(*reply);
          late->Came();
        });
  }
}

bool LeaseQueue::MayStart() const {
  if (waiting_.empty() || windows_.empty()) return !waiting_.empty();
  uint64_t asked_for = 0;
  for (const Window& window : windows_) asked_for += window.bytes;
  return windows_.size() < max_calls_ && asked_for < kAheadBytes;
}

void LeaseQueue::Start(bool holding, absl::Time until) {
  while (MayStart()) StartOne(holding, until);
}

void LeaseQueue::StartOne(bool holding, absl::Time until) {
  Window window{.holding = holding};
  LeaseRequest request;
  uint64_t disk_bytes = 0;
  while (!waiting_.empty() && window.objects.size() < max_window_ && window.bytes < kWindowBytes &&
         disk_bytes < kDiskWindowBytes) {
    const PlannedObject& object = plan_->objects[waiting_.front()];
    const uint64_t bytes = object.num_tokens * plan_->model->spec().token_bytes();
    window.bytes += bytes;
    if (object.on_disk) disk_bytes += bytes;
    request.objects.push_back(object.id);
    window.objects.push_back(waiting_.front());
    waiting_.pop_front();
  }
  transport::CallOptions options;
  options.deadline = session_->CallDeadline(until);
  options.late = session_->KeepLate();
  window.call = PendingCall::Start(session_->link(), std::move(request), std::move(options));
  windows_.push_back(std::move(window));
}

LeaseQueue::Windows::iterator LeaseQueue::Ended() {
  return std::find_if(windows_.begin(), windows_.end(),
                      [](const Window& window) { return window.call->Ended(); });
}

LeaseQueue::Answer LeaseQueue::Finish(absl::FunctionRef<bool()> wanted) {
  while (Ended() == windows_.end() && wanted()) {
    windows_.front().call->WaitUntil(absl::Now() + kWindowGlance);
  }
  Answer answer;
  for (auto it = Ended(); it != windows_.end(); it = Ended()) {
    Window window = std::move(*it);
    windows_.erase(it);
    Take(std::move(window), &answer);
  }
  last_answer_ = absl::Now();
  if (!answer.leased.empty()) answer.pause = absl::ZeroDuration();  // move that first
  return answer;
}

void LeaseQueue::Take(Window window, Answer* answer) {
  auto reply = As<LeaseReply>(window.call->Take());
  if (reply.ok() && reply->results.size() == window.objects.size()) {
    return Sort(window, *reply, answer);
  }
  answer->lost.insert(answer->lost.end(), window.objects.begin(), window.objects.end());
  if (session_->alive()) return;
  answer->lost.insert(answer->lost.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
}

void LeaseQueue::Sort(const Window& window, const LeaseReply& reply, Answer* answer) {
  std::vector<uint32_t> without_room;
  for (size_t i = 0; i < window.objects.size(); ++i) {
    const LeaseResult& result = reply.results[i];
    const uint32_t object = window.objects[i];
    if (result.outcome == LeaseOutcome::kLeased && result.lease != 0) {
      plan_->objects[object].lease = result.lease;
      plan_->objects[object].blocks = result.blocks;
      answer->leased.push_back({object, result.from_disk});
    } else if (result.outcome == LeaseOutcome::kNoRoom) {
      without_room.push_back(object);
    } else {
      answer->lost.push_back(object);
    }
  }
  if (!answer->leased.empty()) {
    for (Window& later : windows_) later.holding = true;
  }
  if (without_room.empty()) {
    stalls_ = 0;
    return;
  }
  max_window_ = std::max<uint32_t>(1, static_cast<uint32_t>(window.objects.size()) / 2);
  max_calls_ = 1;
  NoRoom(std::move(without_room), !answer->leased.empty() || window.holding, answer);
}

void LeaseQueue::NoRoom(std::vector<uint32_t> without_room, bool progress, Answer* answer) {
  waiting_.insert(waiting_.begin(), without_room.begin(), without_room.end());
  if (progress) {  // room comes when what is held goes back
    stalls_ = 0;
    return;
  }
  if (!windows_.empty()) return;  // room may have come for the next one
  if (++stalls_ >= kMaxStalls && max_window_ == 1) {
    answer->lost.push_back(waiting_.front());
    waiting_.pop_front();
    stalls_ = kMaxStalls - 1;  // others get one more try each
    return;
  }
  answer->pause =
      absl::Milliseconds(1 << std::min(stalls_, 5u));  // others hold the room: let them finish
}

}  // namespace cistern::client
