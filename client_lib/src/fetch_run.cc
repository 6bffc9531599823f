#include "client_lib/src/fetch_run.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

namespace cistern::client {

FetchRun::FetchRun(FetchJob* job, Counters* counters, Rates* rates)
    : job_(*job),
      plan_(*job->plan),
      state_(*job->state),
      counters_(*counters),
      rates_(*rates),
      spans_(plan_.spans.size()),
      spans_of_(plan_.objects.size()),
      from_disk_(plan_.objects.size()) {
  if (plan_.resume.position > 0) {
    state_fetch_.emplace(&plan_, job_.target_state, job_.constants, &counters_);
  }
}

bool FetchRun::immediate() const {
  return plan_.session != nullptr && (!state_fetch_.has_value() || state_fetch_->immediate()) &&
         std::all_of(plan_.objects.begin(), plan_.objects.end(),
                     [](const PlannedObject& object) { return object.lease != 0; });
}

std::vector<uint32_t> FetchRun::Objects(bool leased) const {
  std::vector<uint32_t> objects;
  for (uint32_t i = 0; i < plan_.objects.size(); ++i) {
    if ((plan_.objects[i].lease != 0) == leased) objects.push_back(i);
  }
  return objects;
}

void FetchRun::AskAhead() {
  if (plan_.session == nullptr || state_fetch_.has_value()) return;
  const std::vector<uint32_t> wanted = Objects(/*leased=*/false);
  if (std::none_of(wanted.begin(), wanted.end(),
                   [&](uint32_t i) { return plan_.objects[i].on_disk; })) {
    return;
  }
  asked_.emplace(plan_.session.get(), &plan_, wanted);
  asked_->Start(wanted.size() < plan_.objects.size(), state_.deadline());
}

bool FetchRun::RunTo(uint32_t layers, bool patient) {
  if (in_place_.has_value() || by_copy_ != nullptr || immediate()) {
    return RunImmediate(layers, patient);
  }
  if (state_.wanted()) {
    Prepare();
    MoveState();
    if (!hopeless_) LeaseAndMove();
  }
  asked_.reset();
  if (hopeless_) AnnounceAll();
  Finish();
  return true;
}

// `whole`: somebody waits for all of it, and for nothing less.
void FetchRun::StartImmediate(bool whole) {
  Prepare();
  MoveState();
  if (!hopeless_) immediate_objects_ = Objects(/*leased=*/true);
  if (plan_.session->mapped()) {
    in_place_ = StartInPlace(immediate_objects_, /*last=*/true);
  } else {
    const bool layerwise = !whole || job_.on_layer != nullptr;
    by_copy_ =
        StartByCopy(immediate_objects_, /*last=*/true, layerwise ? kLayerwiseCut : kWholeCut);
  }
}

bool FetchRun::RunImmediate(uint32_t layers, bool patient) {
  const absl::Time start = absl::Now();
  if (!in_place_.has_value() && by_copy_ == nullptr) {
    StartImmediate(/*whole=*/!patient && layers == plan_.model->spec().num_layers);
  }
  const bool over = in_place_.has_value() ? MoveInPlace(&*in_place_, layers)
                                          : MoveByCopy(by_copy_.get(), layers, patient);
  immediate_took_ += absl::Now() - start;
  if (!over) return false;
  if (!immediate_objects_.empty()) {
    if (announced_ == plan_.model->spec().num_layers)
      CountRate(immediate_objects_, immediate_took_);
    plan_.session->ReleaseLater(TakeLeases(immediate_objects_));
  }
  AnnounceAll();
  Finish();
  return true;
}

// Before all rows: without it they are of no use.
void FetchRun::MoveState() {
  if (!state_fetch_.has_value()) return;
  const absl::Status moved = state_fetch_->Run(state_);
  if (moved.ok()) {
    const PlannedState& last = plan_.states.back();
    const uint32_t into = last.used_tokens < last.num_tokens ? last.used_tokens : 0;
    state_.StateDelivered(plan_.resume.position - into, plan_.resume.folded_tokens - into,
                          state_fetch_->bytes());
    if (!state_fetch_->from_disk()) rates_.AddFetch(state_fetch_->bytes(), state_fetch_->moving());
  } else {
    if (!state_fetch_->device_error().ok()) DeviceFailed(state_fetch_->device_error());
    hopeless_ = true;
    for (uint32_t i = 0; i < plan_.spans.size(); ++i) {
      if (plan_.spans[i].kind != SpanKind::kCompute) LoseSpan(i);
    }
  }
  state_fetch_.reset();
}

void FetchRun::Finish() {
  if (state_.Failed()) ++counters_.fetch_failures;
  state_.Finish();
}

void FetchRun::Prepare() {
  const base::ModelSpec& spec = plan_.model->spec();
  uint64_t rows = 0;
  for (uint32_t i = 0; i < plan_.spans.size(); ++i) {
    const Span& span = plan_.spans[i];
    if (span.kind == SpanKind::kCompute) continue;
    spans_of_[span.object].push_back(i);
    const PlannedObject& object = plan_.objects[span.object];
    const bool pre_rope = job_.destination.has_pre_rope() &&
                          (plan_.beside_computed[i] || job_.destination.pre_rope_everywhere()) &&
                          spec.movable() && !plan_.model->position_free() &&
                          object.encoding == base::RotaryEncoding::kUnrotated;
    auto mover =
        SpanMover::Create(*plan_.model, job_.arithmetic, span, object, job_.destination, pre_rope);
    if (mover.ok()) {
      spans_[i].mover.emplace(*std::move(mover));
    } else {
      LoseSpan(i);
    }
    rows += span.end - span.begin;
  }
  // A call moves one span of a few layers; what counts for the caches is the whole.
  if (rows * spec.token_bytes() >= kernels::kStreamBytes) stores_ = kernels::StoreHint::kStream;
}

void FetchRun::LeaseAndMove() {
  std::vector<uint32_t> held = Objects(/*leased=*/true);
  const std::vector<uint32_t> wanted = Objects(/*leased=*/false);
  if (!wanted.empty()) {
    if (!asked_.has_value()) asked_.emplace(plan_.session.get(), &plan_, wanted);
    LeaseQueue& queue = *asked_;
    // Memory answers at once, so that everything fits into one pass; a disk does not: move what is
    // there meanwhile.
    bool meanwhile = std::any_of(wanted.begin(), wanted.end(),
                                 [&](uint32_t i) { return plan_.objects[i].on_disk; });
    while (!queue.done() && state_.wanted()) {
      queue.Start(!held.empty(), state_.deadline());
      if (meanwhile) {
        Pass(held, /*last=*/false);
        held.clear();
      }
      const std::vector<uint32_t> leased = FinishLeases(&queue);
      held.insert(held.end(), leased.begin(), leased.end());
      meanwhile = true;
    }
    rates_.AddDisk(disk_bytes_, queue.took());
  }
  if (state_.wanted()) Pass(held, /*last=*/true);
}

std::vector<uint32_t> FetchRun::FinishLeases(LeaseQueue* queue) {
  const LeaseQueue::Answer answer = queue->Finish([this] { return state_.wanted(); });
  std::vector<uint32_t> objects;
  for (const LeaseQueue::Answer::Leased& leased : answer.leased) {
    objects.push_back(leased.object);
    from_disk_[leased.object] = leased.from_disk;
    if (!leased.from_disk) continue;
    disk_bytes_ += plan_.objects[leased.object].num_tokens * plan_.model->spec().token_bytes();
  }
  for (uint32_t object : answer.lost) Lose(object);
  if (answer.pause > absl::ZeroDuration()) state_.Pause(answer.pause);
  return objects;
}

void FetchRun::Pass(const std::vector<uint32_t>& objects, bool last) {
  const absl::Time start = absl::Now();
  if (!objects.empty()) {
    if (plan_.session->mapped()) {
      InPlace pass = StartInPlace(objects, last);
      MoveInPlace(&pass, plan_.model->spec().num_layers);
    } else {
      const std::unique_ptr<ByCopy> pass = StartByCopy(objects, last, kLayerwiseCut);
      MoveByCopy(pass.get(), plan_.model->spec().num_layers, /*patient=*/true);
    }
    CountRate(objects, absl::Now() - start);
    std::vector<transport::LeaseId> leases = TakeLeases(objects);
    if (last) {
      plan_.session->ReleaseLater(std::move(leases));  // nobody waits for that
    } else {
      plan_.session->Release(std::move(leases));
    }
  }
  if (last) AnnounceAll();
}

void FetchRun::CountRate(const std::vector<uint32_t>& objects, absl::Duration took) {
  rates_.AddFetch(RowBytes(objects) * plan_.model->spec().num_layers, took);
}

std::vector<transport::LeaseId> FetchRun::TakeLeases(const std::vector<uint32_t>& objects) {
  std::vector<transport::LeaseId> leases;
  leases.reserve(objects.size());
  for (uint32_t object : objects) leases.push_back(std::exchange(plan_.objects[object].lease, 0));
  return leases;
}

void FetchRun::AnnounceAll() {
  if (!state_.BeginStep()) return;
  Announce(plan_.model->spec().num_layers);
  state_.EndStep();
}

void FetchRun::Announce(uint32_t layers) {
  for (; announced_ < layers; ++announced_) {
    state_.LayersDone(announced_ + 1);
    if (job_.on_layer) job_.on_layer(announced_);
  }
}

void FetchRun::MoveRows(uint32_t object, const kernels::SegmentRows& source, uint32_t layer_begin,
                        uint32_t layer_end) {
  for (uint32_t i : spans_of_[object]) {
    SpanWork& work = spans_[i];
    if (work.lost) continue;
    const absl::Status moved = device_failed_
                                   ? absl::UnavailableError("")
                                   : work.mover->Move(source, layer_begin, layer_end, stores_);
    if (moved.ok()) continue;
    if (!device_failed_ && job_.destination.device() != nullptr) DeviceFailed(moved);
    LoseSpan(i);
  }
}

// It is not tried again for what is left.
void FetchRun::DeviceFailed(const absl::Status& why) {
  device_failed_ = true;
  ++counters_.device_errors;
  state_.DeviceFailed(why);
}

void FetchRun::SettleObject(uint32_t object, bool mapped) {
  for (uint32_t i : spans_of_[object]) {
    if (spans_[i].lost) continue;
    const Span& span = plan_.spans[i];
    FetchState::Source source;
    source.bytes = (span.end - span.begin) * plan_.model->spec().token_bytes();
    source.from_disk = from_disk_[object];
    source.mapped = mapped;
    source.pre_rope = spans_[i].mover->pre_rope();
    state_.Delivered(i, source);
  }
}

void FetchRun::Lose(uint32_t object) {
  for (uint32_t i : spans_of_[object]) LoseSpan(i);
}

void FetchRun::LoseSpan(uint32_t span) {
  spans_[span].lost = true;
  state_.Lost(span);
}

uint64_t FetchRun::RowBytes(const std::vector<uint32_t>& objects) const {
  uint64_t rows = 0;
  for (uint32_t object : objects) rows += plan_.objects[object].num_tokens;
  return rows * plan_.model->spec().row_bytes;
}

}  // namespace cistern::client
