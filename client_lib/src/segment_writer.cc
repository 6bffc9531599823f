#include "client_lib/src/segment_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/destination.h"
#include "kernels/gather/gather.h"
#include "transport/checksum.h"

namespace cistern::client {

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

WriteBatch::WriteBatch(const base::ModelSpec& spec, std::vector<Reserved> all)
    : segments(std::move(all)) {
  tokens.reserve(segments.size());
  for (const Reserved& one : segments) tokens.push_back(one.segment.end - one.segment.begin);
  units = CutIntoUnits(tokens, spec.num_layers, spec.row_bytes, kPublishUnitBytes);
}

absl::Status SegmentWriter::StillWorthIt() const {
  if (!session_.alive()) return absl::UnavailableError("the node has gone");
  if (absl::Now() >= deadline_) {
    return absl::DeadlineExceededError("the publish's deadline has passed");
  }
  return absl::OkStatus();
}

bool SegmentWriter::GatherNext(WriteBatch* batch, uint32_t layers) {
  if (batch->next == batch->units.size() || batch->units[batch->next].layer_end > layers ||
      batch->gathered.size() >= kPublishUnitsInFlight) {
    return false;
  }
  return Gather(batch, /*may_wait=*/false).ok();
}

void SegmentWriter::Write(WriteBatch* batch, uint32_t layers) {
  for (;;) {
    while (!batch->gathered.empty()) Send(batch);
    if (batch->next == batch->units.size()) return;
    const TransferUnit& unit = batch->units[batch->next];
    if (unit.layer_end > layers) return;
    absl::Status status = StillWorthIt();
    if (status.ok()) status = Gather(batch, /*may_wait=*/flying_.empty());
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

absl::Status SegmentWriter::Gather(WriteBatch* batch, bool may_wait) {
  const TransferUnit& unit = batch->units[batch->next];
  CISTERN_ASSIGN_OR_RETURN(Staging::Lent buffer,
                           may_wait ? session_.staging().Take(unit.bytes(), deadline_)
                                    : session_.staging().TryTake(unit.bytes()));
  WriteBatch::Gathered gathered;
  gathered.unit = unit;
  gathered.payload = buffer.bytes(unit.bytes());
  CISTERN_RETURN_IF_ERROR(GatherUnit(unit, *batch, gathered.payload.data()));
  // Within one machine the bytes are copied once, by the node, from memory that both share.
  if (!session_.mapped()) {
    gathered.checksum = transport::PayloadChecksum(std::vector<transport::Slice>{gathered.payload});
  }
  gathered.buffer = std::move(buffer);
  batch->gathered.push_back(std::move(gathered));
  ++batch->next;
  return absl::OkStatus();
}

void SegmentWriter::Send(WriteBatch* batch) {
  if (flying_.size() >= kPublishUnitsInFlight) FinishOldest();
  WriteBatch::Gathered next = std::move(batch->gathered.front());
  batch->gathered.pop_front();
  if (const absl::Status status = StillWorthIt(); !status.ok()) {
    return Fail(next.unit, status, batch);
  }
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
  options.send = {next.payload};
  // The buffer is free for others when the call has ended, not when somebody asks how.
  auto call = PendingCall::Start(session_.link(), std::move(request), std::move(options),
                                 [buffer = std::move(next.buffer)]() mutable { buffer = {}; });
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

absl::Status SegmentWriter::GatherUnit(const TransferUnit& unit, const WriteBatch& batch,
                                       std::byte* payload) const {
  UnitRows<std::byte> rows(unit, batch.tokens, spec_.row_bytes, payload);
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    CISTERN_RETURN_IF_ERROR(GatherSegment(batch.segments[i].segment, rows.Next()));
  }
  return absl::OkStatus();
}

absl::Status SegmentWriter::GatherSegment(const NewSegment& segment,
                                          kernels::MutableSegmentRows target) const {
  kernels::GatherParams params;
  params.cache = ViewOf(rows_.cache);
  params.target = target;
  params.range = {target.first_layer, target.num_layers, 0, segment.end - segment.begin,
                  segment.begin};
  params.rotary_offset = spec_.rotary_offset();
  params.stores = kernels::StoreHint::kCached;  // whoever sends them on reads them next
  if (rows_.pre_rope.empty() || segment.encoding == base::RotaryEncoding::kRotated) {
    return kernels::Gather(params);
  }
  // Each layer has a side buffer of its own.
  params.range.num_layers = 1;
  for (uint32_t layer = target.first_layer; layer < target.first_layer + target.num_layers;
       ++layer) {
    params.range.first_layer = layer;
    params.k_r.rows = rows_.pre_rope[layer];
    params.k_r.first_layer = layer;
    params.k_r.num_layers = 1;
    params.k_r.num_tokens = segment.end;
    params.k_r.layer_stride = uint64_t{segment.end} * rows_.pre_rope_stride;
    params.k_r.token_stride = rows_.pre_rope_stride;
    params.k_r.bytes = spec_.rotary_bytes();
    CISTERN_RETURN_IF_ERROR(kernels::Gather(params));
  }
  return absl::OkStatus();
}

}  // namespace cistern::client
