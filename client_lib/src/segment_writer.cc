#include "client_lib/src/segment_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/destination.h"

namespace cistern::client {

namespace {

// Less is gathered sooner than a node can begin to follow.
constexpr uint64_t kFollowedBytes = 64 << 10;

// That a node takes for other things: at first, and when it has taken nothing for long.
constexpr absl::Duration kShortPause = absl::Microseconds(100), kLongPause = absl::Milliseconds(2);

}  // namespace

using transport::WriteReply;
using transport::WriteRequest;

absl::Status SegmentWriter::Validate(std::span<const NewSegment> segments) const {
  if (rows_.cache.layer_base.size() != spec_.num_layers) {
    return absl::InvalidArgumentError(absl::StrCat("layer_base has ", rows_.cache.layer_base.size(),
                                                   " layers, the model ", spec_.num_layers));
  }
  if (!rows_.pre_rope.empty()) {
    if (rows_.pre_rope.size() != spec_.num_layers ||
        std::count(rows_.pre_rope.begin(), rows_.pre_rope.end(), nullptr) != 0) {
      return absl::InvalidArgumentError("pre_rope has not one buffer for each layer");
    }
    if (rows_.pre_rope_stride < spec_.rotary_bytes()) {
      return absl::InvalidArgumentError("pre_rope_stride is below the rotary part's size");
    }
  }
  for (const NewSegment& segment : segments) {
    const kernels::RowRange range{0, spec_.num_layers, 0, segment.end - segment.begin,
                                  segment.begin};
    CISTERN_RETURN_IF_ERROR(kernels::ValidateCache(ViewOf(rows_.cache), range, spec_.row_bytes));
  }
  return absl::OkStatus();
}

WriteBatch::WriteBatch(const base::ModelSpec& spec, std::vector<Reserved> all, uint64_t unit_bytes)
    : segments(std::move(all)) {
  tokens.reserve(segments.size());
  for (const Reserved& one : segments) tokens.push_back(one.segment.end - one.segment.begin);
  units = CutIntoUnits(tokens, spec.num_layers, spec.row_bytes, {.unit_bytes = unit_bytes});
}

// A node that follows copies; bytes that are checked must all be there first.
bool SegmentWriter::followed() const { return session_.mapped() && session_.link().follows(); }

uint64_t SegmentWriter::UnitBytes(bool whole) const {
  return whole && followed() ? kFollowedUnitBytes : kPublishUnitBytes;
}

absl::Status SegmentWriter::StillWorthIt() const {
  if (!session_.alive()) return absl::UnavailableError("the node has gone");
  if (absl::Now() >= deadline_) {
    return absl::DeadlineExceededError("the publish's deadline has passed");
  }
  return absl::OkStatus();
}

bool SegmentWriter::Open(WriteBatch* batch, uint32_t layers) {
  if (batch->next == batch->units.size() || batch->units[batch->next].layer_end > layers ||
      batch->gathered.size() >= kPublishUnitsInFlight) {
    return false;
  }
  return OpenNext(batch, /*may_wait=*/false).ok();
}

bool SegmentWriter::GatherMore(WriteBatch* batch, uint32_t layers) {
  const bool open = !batch->gathered.empty() && !batch->gathered.back().rows.done();
  if (!open && !Open(batch, layers)) return false;
  UnitGather& rows = batch->gathered.back().rows;
  return rows.HasRoom(/*taken=*/0) && rows.Next().ok();
}

void SegmentWriter::Write(WriteBatch* batch, uint32_t layers) {
  for (;;) {
    while (!batch->gathered.empty()) Send(batch);
    if (batch->next == batch->units.size()) return;
    const TransferUnit& unit = batch->units[batch->next];
    if (unit.layer_end > layers) return;
    absl::Status status = StillWorthIt();
    if (status.ok()) status = OpenNext(batch, /*may_wait=*/flying_.empty());
    if (absl::IsResourceExhausted(status) && !flying_.empty()) {
      FinishOldest();
    } else if (!status.ok()) {
      Fail(unit, status, batch);
      ++batch->next;
    }
  }
}

void SegmentWriter::Drain() {
  while (!flying_.empty()) FinishOldest();
}

absl::Status SegmentWriter::OpenNext(WriteBatch* batch, bool may_wait) {
  const TransferUnit& unit = batch->units[batch->next];
  const uint64_t bytes = followed() && unit.bytes() > kPublishUnitBytes
                             ? std::max<uint64_t>(kFollowedMemoryBytes, spec_.row_bytes)
                             : unit.bytes();
  CISTERN_ASSIGN_OR_RETURN(Staging::Lent buffer, may_wait
                                                     ? session_.staging().Take(bytes, deadline_)
                                                     : session_.staging().TryTake(bytes));
  const transport::MutableSlice memory = buffer.bytes(bytes);
  batch->gathered.push_back({unit, std::make_shared<Staging::Lent>(std::move(buffer)),
                             UnitGather(spec_, rows_, unit, memory)});
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    batch->gathered.back().rows.Add(batch->segments[i].segment);
  }
  ++batch->next;
  return absl::OkStatus();
}

absl::Status SegmentWriter::Prepare(WriteBatch::Gathered* unit) const {
  if (unit->rows.wraps()) return absl::OkStatus();
  if (followed() && unit->unit.bytes() - unit->rows.filled() > kFollowedBytes) {
    return absl::OkStatus();
  }
  while (!unit->rows.done()) CISTERN_RETURN_IF_ERROR(unit->rows.Next());
  if (unit->checksum == 0) unit->checksum = session_.Checksum(unit->rows.Payload());
  return absl::OkStatus();
}

bool SegmentWriter::AwaitRoom(const UnitGather& rows, transport::PayloadFill& fill,
                              const PendingCall& call) {
  if (rows.HasRoom(fill.Taken())) return !call.Ended();
  lookout_.Begin(/*allowed=*/true);
  absl::Duration pause = kShortPause;
  while (!call.Ended()) {
    if (rows.HasRoom(fill.Taken())) {
      lookout_.Came();
      return true;
    }
    if (lookout_.Again()) continue;
    absl::SleepFor(pause);
    pause = std::min(pause * 2, kLongPause);
  }
  return false;
}

std::shared_ptr<PendingCall> SegmentWriter::StartWith(WriteBatch::Gathered* unit, Start start) {
  // What an earlier call has taken is not there any more.
  if (std::exchange(unit->sent, true) && unit->rows.wraps()) unit->rows.Restart();
  if (unit->rows.done()) return start(nullptr);
  std::unique_ptr<transport::PayloadFill> fill;
  std::shared_ptr<PendingCall> call = start(&fill);
  if (fill != nullptr && unit->rows.filled() > 0) fill->Filled(unit->rows.filled());
  if (fill != nullptr) GatherFollowed(&unit->rows, *fill, *call);
  return call;
}

void SegmentWriter::GatherFollowed(UnitGather* rows, transport::PayloadFill& fill,
                                   const PendingCall& call) {
  StoreChoice& choice = session_.followed_stores();
  transport::MonoTime before = transport::MonoNow();
  while (!rows->done()) {
    const kernels::StoreHint stores = choice.Now();
    const uint64_t filled = rows->filled();
    if (!AwaitRoom(*rows, fill, call) || !rows->Next(stores).ok()) return;
    fill.Filled(rows->filled());
    const transport::MonoTime now = transport::MonoNow();
    choice.Took(stores, rows->filled() - filled, now - before);
    before = now;
  }
}

void SegmentWriter::Send(WriteBatch* batch) {
  if (flying_.size() >= kPublishUnitsInFlight) FinishOldest();
  WriteBatch::Gathered next = std::move(batch->gathered.front());
  batch->gathered.pop_front();
  absl::Status status = StillWorthIt();
  if (status.ok()) status = Prepare(&next);
  if (!status.ok()) return Fail(next.unit, status, batch);
  WriteRequest request;
  request.layer_begin = next.unit.layer_begin;
  request.layer_end = next.unit.layer_end;
  request.checksum = next.checksum;
  request.commit = true;
  request.reservations.reserve(next.unit.object_end - next.unit.object_begin);
  for (uint32_t i = next.unit.object_begin; i < next.unit.object_end; ++i) {
    request.reservations.push_back(batch->segments[i].id);
  }
  transport::CallOptions options;
  options.deadline = session_.CallDeadline(deadline_);
  options.send = next.rows.Payload();
  auto call = StartWith(&next, [&](std::unique_ptr<transport::PayloadFill>* fill) {
    // The buffer is free for others when the call has ended, not when somebody asks how.
    auto ended = [buffer = next.buffer]() mutable { buffer.reset(); };
    return fill == nullptr ? PendingCall::Start(session_.link(), std::move(request),
                                                std::move(options), std::move(ended))
                           : PendingCall::StartAhead(session_.link(), std::move(request),
                                                     std::move(options), std::move(ended), fill);
  });
  ++batch->in_flight;
  flying_.push_back({batch, next.unit, std::move(call)});
}

void SegmentWriter::FinishOldest() {
  Flight flight = std::move(flying_.front());
  flying_.pop_front();
  --flight.batch->in_flight;
  if (!flight.call->WaitUntil(deadline_)) {  // its payload is moving: the link ends it, some time
    flight.call->Abandon([](const absl::StatusOr<transport::Reply>&) {});
    return Fail(flight.unit, absl::DeadlineExceededError("the node did not take the rows in time"),
                flight.batch);
  }
  const auto reply = As<WriteReply>(flight.call->Take());
  if (!reply.ok()) return Fail(flight.unit, reply.status(), flight.batch);
  flight.batch->committed += reply->committed;
}

void SegmentWriter::Fail(const TransferUnit& unit, const absl::Status& why, WriteBatch* batch) {
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    batch->segments[i].written.Update(why);
  }
}

}  // namespace cistern::client
