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

void SegmentWriter::Write(std::vector<Reserved>* batch) {
  tokens_.clear();
  for (const Reserved& reserved : *batch) {
    tokens_.push_back(reserved.segment.end - reserved.segment.begin);
  }
  const std::vector<TransferUnit> units = CutIntoUnits(tokens_, spec_.num_layers, spec_.row_bytes);
  size_t next = 0;
  while (next < units.size() || !flying_.empty()) {
    if (next < units.size() && flying_.size() < kUnitsInFlight && StartNext(units[next], batch)) {
      ++next;
    } else {
      FinishOldest(batch);
    }
  }
}

// False: all buffers are in use now, some of them by this.
bool SegmentWriter::StartNext(const TransferUnit& unit, std::vector<Reserved>* batch) {
  if (!session_.alive() || absl::Now() >= deadline_) {
    Fail(unit,
         session_.alive() ? absl::DeadlineExceededError("the publish's deadline has passed")
                          : absl::UnavailableError("the node has gone"),
         batch);
    return true;
  }
  auto buffer = flying_.empty() ? session_.staging().Take(unit.bytes(), deadline_)
                                : session_.staging().TryTake(unit.bytes());
  if (!buffer.ok()) {
    if (!flying_.empty()) return false;
    Fail(unit, buffer.status(), batch);
    return true;
  }
  const transport::MutableSlice payload = buffer->bytes(unit.bytes());
  if (absl::Status gathered = GatherUnit(unit, *batch, payload.data()); !gathered.ok()) {
    Fail(unit, gathered, batch);
    return true;
  }
  WriteRequest request;
  request.layer_begin = unit.layer_begin;
  request.layer_end = unit.layer_end;
  // Within one machine the bytes are copied once, by the node, from memory that both share.
  if (!session_.mapped()) {
    request.checksum = transport::PayloadChecksum(std::vector<transport::Slice>{payload});
  }
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    request.reservations.push_back((*batch)[i].id);
  }
  transport::CallOptions options;
  options.deadline = session_.CallDeadline(deadline_);
  options.send = {payload};
  auto call = PendingCall::Start(session_.link(), std::move(request), std::move(options));
  flying_.push_back({unit, *std::move(buffer), std::move(call)});
  return true;
}

void SegmentWriter::FinishOldest(std::vector<Reserved>* batch) {
  Flight flight = std::move(flying_.front());
  flying_.pop_front();
  flight.call->Wait();
  const auto reply = As<WriteReply>(flight.call->Take());
  if (!reply.ok()) Fail(flight.unit, reply.status(), batch);
}

void SegmentWriter::Fail(const TransferUnit& unit, const absl::Status& why,
                         std::vector<Reserved>* batch) {
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) (*batch)[i].written.Update(why);
}

absl::Status SegmentWriter::GatherUnit(const TransferUnit& unit, const std::vector<Reserved>& batch,
                                       std::byte* payload) const {
  UnitRows<std::byte> rows(unit, tokens_, spec_.row_bytes, payload);
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    CISTERN_RETURN_IF_ERROR(GatherSegment(batch[i].segment, rows.Next()));
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
