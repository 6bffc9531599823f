#include "client_lib/src/lease_queue.h"

#include <algorithm>
#include <utility>

namespace cistern::client {

using transport::LeaseOutcome;
using transport::LeaseReply;
using transport::LeaseRequest;
using transport::LeaseResult;

LeaseQueue::LeaseQueue(Session* session, PlanImpl* plan, const std::vector<uint32_t>& wanted)
    : session_(session), plan_(plan), waiting_(wanted.begin(), wanted.end()) {}

LeaseQueue::~LeaseQueue() {
  if (call_ == nullptr) return;
  call_->Abandon([late = session_->late_book()](const absl::StatusOr<transport::Reply>& reply) {
    if (reply.ok()) late->Add(*reply);
  });
}

void LeaseQueue::Start(bool holding, absl::Time until) {
  holding_ = holding;
  window_.clear();
  LeaseRequest request;
  uint64_t bytes = 0;
  while (!waiting_.empty() && window_.size() < max_window_ &&
         (bytes < kWindowBytes || window_.empty())) {
    const PlannedObject& object = plan_->objects[waiting_.front()];
    bytes += object.num_tokens * plan_->model->spec().token_bytes();
    request.objects.push_back(object.id);
    window_.push_back(waiting_.front());
    waiting_.pop_front();
  }
  transport::CallOptions options;
  options.deadline = session_->CallDeadline(until);
  options.late = session_->KeepLate();
  call_ = PendingCall::Start(session_->link(), std::move(request), std::move(options));
}

LeaseQueue::Answer LeaseQueue::Finish() {
  Answer answer;
  call_->Wait();
  auto reply = As<LeaseReply>(std::exchange(call_, nullptr)->Take());
  if (!reply.ok() || reply->results.size() != window_.size()) {
    answer.lost = std::move(window_);
    if (!session_->alive()) {
      answer.lost.insert(answer.lost.end(), waiting_.begin(), waiting_.end());
      waiting_.clear();
    }
    return answer;
  }
  Sort(*reply, &answer);
  return answer;
}

void LeaseQueue::Sort(const LeaseReply& reply, Answer* answer) {
  std::vector<uint32_t> without_room;
  for (size_t i = 0; i < window_.size(); ++i) {
    const LeaseResult& result = reply.results[i];
    if (result.outcome == LeaseOutcome::kLeased && result.lease != 0) {
      plan_->objects[window_[i]].lease = result.lease;
      plan_->objects[window_[i]].blocks = result.blocks;
      answer->leased.push_back({window_[i], result.from_disk});
    } else if (result.outcome == LeaseOutcome::kNoRoom) {
      without_room.push_back(window_[i]);
    } else {
      answer->lost.push_back(window_[i]);
    }
  }
  const bool progress = !answer->leased.empty() || holding_;
  if (without_room.empty()) {
    stalls_ = 0;
  } else {
    max_window_ = std::max<uint32_t>(1, static_cast<uint32_t>(window_.size()) / 2);
    NoRoom(std::move(without_room), progress, answer);
  }
}

void LeaseQueue::NoRoom(std::vector<uint32_t> without_room, bool progress, Answer* answer) {
  waiting_.insert(waiting_.begin(), without_room.begin(), without_room.end());
  if (progress) {  // room comes when what is held goes back
    stalls_ = 0;
    return;
  }
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
