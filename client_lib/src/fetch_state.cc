#include "client_lib/src/fetch_state.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace cistern::client {

FetchState::FetchState(const std::vector<Span>& spans, uint32_t num_layers, uint32_t state_position,
                       uint64_t incarnation, absl::Time deadline)
    : spans_(spans),
      num_layers_(num_layers),
      state_position_(state_position),
      deadline_(deadline),
      delivered_(spans.size()),
      lost_(spans.size()),
      pre_rope_(spans.size()) {
  result_.incarnation = incarnation;
}

template <typename Predicate>
bool FetchState::WaitFor(absl::Time until, Predicate what) {
  while (!what()) {
    const absl::Duration left = std::min(until - absl::Now(), absl::Hours(24));
    if (left <= absl::ZeroDuration()) return false;
    changed_.wait_for(mutex_, absl::ToChronoNanoseconds(left));
  }
  return true;
}

bool FetchState::BeginStep() {
  base::MutexLock lock(&mutex_);
  if (cancelled_ || PastDeadline()) return false;
  stepping_ = true;
  mover_ = std::this_thread::get_id();
  return true;
}

void FetchState::EndStep() {
  base::MutexLock lock(&mutex_);
  stepping_ = false;
  changed_.notify_all();
}

bool FetchState::wanted() {
  base::MutexLock lock(&mutex_);
  return !cancelled_ && !PastDeadline();
}

void FetchState::Pause(absl::Duration how_long) {
  const absl::Time until = std::min(absl::Now() + how_long, deadline_);
  base::MutexLock lock(&mutex_);
  WaitFor(until, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return cancelled_; });
}

void FetchState::Delivered(uint32_t index, const Source& source) {
  base::MutexLock lock(&mutex_);
  delivered_[index] = true;
  pre_rope_[index] = source.pre_rope;
  (source.from_disk ? result_.bytes_disk : result_.bytes_memory) += source.bytes;
  if (source.mapped) result_.mapped_bytes += source.bytes;
  UsedLocked(index);
}

void FetchState::StateDelivered(uint32_t stored_position, uint32_t stored_chain_tokens,
                                uint64_t bytes) {
  base::MutexLock lock(&mutex_);
  result_.state_position = state_position_;
  result_.stored_position = stored_position;
  result_.stored_chain_tokens = stored_chain_tokens;
  result_.state_bytes = bytes;
}

bool FetchState::WholeLocked() const {
  if (result_.state_position != state_position_) return false;
  for (size_t i = 0; i < spans_.size(); ++i) {
    if (spans_[i].kind != SpanKind::kCompute && !delivered_[i]) return false;
  }
  return true;
}

void FetchState::Lost(uint32_t index) {
  base::MutexLock lock(&mutex_);
  if (layers_done_ > 0 && !lost_[index]) UsedLocked(index);
  lost_[index] = true;
}

void FetchState::UsedLocked(size_t index) {
  if (spans_[index].lossless) return;
  result_.approximate_from = std::min(result_.approximate_from, spans_[index].begin);
}

bool FetchState::Failed() {
  base::MutexLock lock(&mutex_);
  if (cancelled_ && !PastDeadline()) return false;
  return !WholeLocked();
}

void FetchState::LayersDone(uint32_t layers) {
  base::MutexLock lock(&mutex_);
  layers_done_ = std::max(layers_done_, layers);
  changed_.notify_all();
}

void FetchState::Finish() {
  base::MutexLock lock(&mutex_);
  finished_ = true;
  changed_.notify_all();
}

absl::Status FetchState::WaitLayer(uint32_t layer) {
  if (layer >= num_layers_) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer ", layer, " of a model that has ", num_layers_));
  }
  base::MutexLock lock(&mutex_);
  WaitFor(deadline_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return layers_done_ > layer || finished_ || cancelled_;
  });
  if (layers_done_ > layer) return absl::OkStatus();
  if (cancelled_) return absl::CancelledError("the fetch was cancelled");
  // A mover that finishes without this layer has seen the deadline pass a moment ago.
  return absl::DeadlineExceededError("the fetch's deadline has passed");
}

void FetchState::StopLocked() {
  cancelled_ = true;
  changed_.notify_all();
  if (mover_ == std::this_thread::get_id()) return;  // on_layer cancels: it is the step
  WaitFor(absl::InfiniteFuture(), [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return !stepping_; });
}

void FetchState::DeviceFailed(const absl::Status& why) {
  base::MutexLock lock(&mutex_);
  result_.device_error = why;
}

void FetchState::Cancel() {
  base::MutexLock lock(&mutex_);
  StopLocked();
}

FetchResult FetchState::Wait() {
  base::MutexLock lock(&mutex_);
  WaitFor(deadline_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return finished_ || cancelled_; });
  StopLocked();
  // What never came and was not given up either (the deadline, a cancel) had its announced layers.
  for (size_t i = 0; i < spans_.size() && layers_done_ > 0; ++i) {
    if (spans_[i].kind != SpanKind::kCompute && !lost_[i]) UsedLocked(i);
  }
  FetchResult result = result_;
  result.approximate = result.approximate_from != UINT32_MAX;
  const bool use = !hybrid() || WholeLocked();
  if (!use) {
    result.state_position = 0;
    result.stored_position = result.stored_chain_tokens = 0;
  }
  for (size_t i = 0; i < spans_.size(); ++i) {
    const Span& span = spans_[i];
    if (span.kind == SpanKind::kCompute) continue;
    if (!delivered_[i] || !use) continue;
    result.delivered.push_back(span);
    result.delivered.back().pre_rope = pre_rope_[i];
  }
  result.missing = MissingLocked();
  return result;
}

std::vector<TokenRange> FetchState::Missing() {
  base::MutexLock lock(&mutex_);
  return MissingLocked();
}

std::vector<TokenRange> FetchState::MissingLocked() const {
  const bool over = finished_ || cancelled_;
  const bool all = hybrid() && (over ? !WholeLocked()
                                     : std::find(lost_.begin(), lost_.end(), true) != lost_.end());
  std::vector<TokenRange> missing;
  for (size_t i = 0; i < spans_.size(); ++i) {
    const Span& span = spans_[i];
    if (span.kind == SpanKind::kCompute) continue;
    if (!all && !(over ? !delivered_[i] : lost_[i])) continue;
    if (!missing.empty() && missing.back().end == span.begin) {
      missing.back().end = span.end;
    } else {
      missing.push_back({span.begin, span.end});
    }
  }
  return missing;
}

}  // namespace cistern::client
