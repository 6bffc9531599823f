// A fetch seen from two sides: the thread that moves rows, one of the client's or the caller's own
// while he waits (fetcher.h), and the caller who waits, cancels or goes away.
//
//   mover:   (BeginStep ... Delivered ... EndStep | Lost)* LayersDone* Finish
//   caller:  (WaitLayer | Missing)* Wait | Cancel
//
// The destination is written only between BeginStep and EndStep, and a step begins only while the
// caller wants it: once Cancel or Wait has returned, nothing is written any more, whatever the
// mover is waiting for.
//
// Thread   any
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/mutex.h"
#include "cistern/client.h"

namespace cistern::client {

class FetchState {
 public:
  // `spans`: of the plan; those that compute are no concern of a fetch. `state_position`: of the
  // plan's resume(). Not 0: rows and state come together or not at all, and when one is lost, all
  // are.
  FetchState(const std::vector<Span>& spans, uint32_t num_layers, uint32_t state_position,
             uint64_t incarnation, absl::Time deadline);

  // ---- The mover's side

  // False when the caller has cancelled or the deadline has passed: stop.
  bool BeginStep();
  void EndStep();
  bool wanted();
  // Sleeps, but not longer than the caller wants the fetch.
  void Pause(absl::Duration how_long);

  struct Source {
    uint64_t bytes = 0;
    bool from_disk = false;
    bool mapped = false;
    bool pre_rope = false;
  };
  // All rows of span `index` (of the plan) are in place and checked. Within a step.
  void Delivered(uint32_t index, const Source& source);
  // FetchResult::device_error.
  void DeviceFailed(const absl::Status& why);
  // The plan's state is in place, from `bytes` of checkpoint and log. FetchResult's stored_*.
  void StateDelivered(uint32_t stored_position, uint32_t stored_chain_tokens, uint64_t bytes);
  // Span `index` will not be delivered.
  void Lost(uint32_t index);
  // Whether planned spans were not delivered for another reason than that the caller cancelled.
  bool Failed();
  // Layers [0, layers) are settled.
  void LayersDone(uint32_t layers);
  void Finish();

  // ---- The caller's side

  absl::Status WaitLayer(uint32_t layer);
  std::vector<TokenRange> Missing();
  FetchResult Wait();
  void Cancel();

  absl::Time deadline() const { return deadline_; }
  uint32_t num_layers() const { return num_layers_; }

 private:
  bool hybrid() const { return state_position_ != 0; }
  bool WholeLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // rows and state are there
  // Planned spans that are lost; once nothing more can come, all that were not delivered.
  std::vector<TokenRange> MissingLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Span `index` has been, or may have been, what others were computed from.
  void UsedLocked(size_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StopLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool PastDeadline() const { return absl::Now() >= deadline_; }
  // Waits for `what` until `until`; true when it came.
  template <typename Predicate>
  bool WaitFor(absl::Time until, Predicate what) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::vector<Span> spans_;
  const uint32_t num_layers_;
  const uint32_t state_position_;
  const absl::Time deadline_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool stepping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread::id mover_ ABSL_GUARDED_BY(mutex_);
  uint32_t layers_done_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<bool> delivered_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> lost_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> pre_rope_ ABSL_GUARDED_BY(mutex_);
  FetchResult result_ ABSL_GUARDED_BY(mutex_);  // counters; the spans are put in by Wait
};

}  // namespace cistern::client
