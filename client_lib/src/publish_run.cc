#include "client_lib/src/publish_run.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

#include "base/status_macros.h"

namespace cistern::client {
namespace {

using transport::ReserveOutcome;

constexpr uint64_t kBatchBytes = 64 << 20;  // reserved at a time
constexpr uint32_t kBatchSegments = 1024;
constexpr absl::Duration kNoRoomPause = absl::Milliseconds(10);

std::vector<Reserved> Unreserved(std::span<const NewSegment> segments) {
  std::vector<Reserved> all;
  all.reserve(segments.size());
  for (const NewSegment& segment : segments) all.push_back({segment, 0, absl::OkStatus()});
  return all;
}

}  // namespace

void PublishRun::set_deadline(absl::Time deadline) {
  deadline_ = deadline;
  writer_.set_deadline(deadline);
}

transport::CallOptions PublishRun::Options() const {
  transport::CallOptions options;
  options.deadline = session_.CallDeadline(deadline_);
  return options;
}

uint64_t PublishRun::SegmentBytes(const NewSegment& segment) const {
  return (segment.end - segment.begin) * model_.spec().token_bytes();
}

size_t PublishRun::BatchSize(std::span<const NewSegment> segments) const {
  uint64_t bytes = 0;
  size_t count = 0;
  while (count < segments.size() && count < kBatchSegments && bytes < kBatchBytes) {
    bytes += SegmentBytes(segments[count++]);
  }
  return count;
}

// ---- Whole segments

// What finds no room is tried again, once, a little later: others commit or release meanwhile.
absl::Status PublishRun::Publish(const Prompt& prompt, std::span<const NewSegment> segments) {
  std::vector<NewSegment> no_room;
  absl::Status status = Batches(prompt, segments, &no_room);
  status.Update(SettleAll());
  if (status.ok() && !no_room.empty() && absl::Now() + kNoRoomPause < deadline_) {
    absl::SleepFor(kNoRoomPause);
    const std::vector<NewSegment> again = std::exchange(no_room, {});
    status = Batches(prompt, again, &no_room);
    status.Update(SettleAll());
  }
  report_.segments_dropped += no_room.size();
  return status;
}

absl::Status PublishRun::Batches(const Prompt& prompt, std::span<const NewSegment> segments,
                                 std::vector<NewSegment>* no_room) {
  while (!segments.empty()) {
    const size_t count = BatchSize(segments);
    BatchPtr batch = NewBatch(Unreserved(segments.first(count)), /*whole=*/true);
    segments = segments.subspan(count);
    CISTERN_ASSIGN_OR_RETURN(const transport::ReserveReply reply,
                             Reserve(prompt, batch.get(), /*ahead=*/true));
    batch = Sort(reply, std::move(batch), /*whole=*/true, no_room);
    if (batch == nullptr) continue;
    open_.push_back(std::move(batch));
    writer_.Write(open_.back().get(), model_.spec().num_layers);
    CISTERN_RETURN_IF_ERROR(SettleWritten());
  }
  return absl::OkStatus();
}

// ---- Layer by layer

absl::Status PublishRun::Begin(const Prompt& prompt, std::span<const NewSegment> segments) {
  std::vector<Reserved> reserved;
  std::vector<NewSegment> no_room;
  absl::Status status = ReserveAll(prompt, segments, &reserved, &no_room);
  if (status.ok() && !no_room.empty() && absl::Now() + kNoRoomPause < deadline_) {
    absl::SleepFor(kNoRoomPause);
    const std::vector<NewSegment> again = std::exchange(no_room, {});
    status = ReserveAll(prompt, again, &reserved, &no_room);
  }
  report_.segments_dropped += no_room.size();
  open_.push_back(NewBatch(std::move(reserved), /*whole=*/false));
  if (!status.ok()) GiveUp();
  return status;
}

absl::Status PublishRun::ReserveAll(const Prompt& prompt, std::span<const NewSegment> segments,
                                    std::vector<Reserved>* reserved,
                                    std::vector<NewSegment>* no_room) {
  while (!segments.empty()) {
    const size_t count = std::min<size_t>(segments.size(), kBatchSegments);
    BatchPtr batch = NewBatch(Unreserved(segments.first(count)), /*whole=*/false);
    segments = segments.subspan(count);
    CISTERN_ASSIGN_OR_RETURN(const transport::ReserveReply reply,
                             Reserve(prompt, batch.get(), /*ahead=*/false));
    batch = Sort(reply, std::move(batch), /*whole=*/false, no_room);
    if (batch == nullptr) continue;
    reserved->insert(reserved->end(), batch->segments.begin(), batch->segments.end());
  }
  return absl::OkStatus();
}

void PublishRun::Layers(uint32_t layers) {
  if (!open_.empty()) writer_.Write(open_.back().get(), layers);
}

absl::Status PublishRun::Finish() { return SettleAll(); }

// ---- Reserve

base::ObjectHeader PublishRun::HeaderOf(const Prompt& prompt, const NewSegment& segment) const {
  base::ObjectHeader header;
  header.model = model_.fingerprint();
  header.tenant = model_.keys().tenant();
  header.content = segment.content;
  header.context = segment.context;
  header.parent_context = segment.parent_context;
  header.base_position = segment.begin;
  header.encoding = segment.encoding;
  header.arithmetic = arithmetic_;
  header.lineage = segment.lineage;
  const auto tokens = prompt.Tokens(segment.begin, segment.end);
  header.tokens.assign(tokens.begin(), tokens.end());
  return header;
}

absl::StatusOr<transport::ReserveReply> PublishRun::Reserve(const Prompt& prompt, WriteBatch* batch,
                                                            bool ahead) {
  const uint32_t layers = ahead ? model_.spec().num_layers : 0;
  transport::ReserveRequest message;
  message.headers.reserve(batch->segments.size());
  for (const Reserved& one : batch->segments) {
    message.headers.push_back(HeaderOf(prompt, one.segment));
  }
  WriteBatch::Gathered* first = nullptr;
  if (writer_.Open(batch, layers)) {
    first = &batch->gathered.front();
    CISTERN_RETURN_IF_ERROR(writer_.Prepare(first));
    message.payload_headers = first->unit.object_end;
    message.layer_end = first->unit.layer_end;
    message.checksum = first->checksum;
    message.commit = true;
  }
  auto reply = session_.WithModel(model_, deadline_, [&] {
    auto call = StartReserve(message, first);
    while (!call->Ended() && writer_.GatherMore(batch, layers)) {
    }
    if (!call->WaitUntil(deadline_)) {  // its payload is moving: the link ends it, some time
      auto buffer = first == nullptr ? nullptr : first->buffer;
      call->Abandon([buffer = std::move(buffer), late = session_.late_book()](
                        const absl::StatusOr<transport::Reply>& late_reply) {
        if (late_reply.ok()) late->Add(*late_reply);
      });
      return absl::StatusOr<transport::ReserveReply>(
          absl::DeadlineExceededError("the node did not answer Reserve in time"));
    }
    return As<transport::ReserveReply>(call->Take());
  });
  if (reply.ok() && reply->results.size() != batch->segments.size()) {
    return absl::InternalError("the node's answer to Reserve has another number of results");
  }
  return reply;
}

std::shared_ptr<PendingCall> PublishRun::StartReserve(const transport::ReserveRequest& message,
                                                      WriteBatch::Gathered* first) {
  transport::CallOptions options = Options();
  options.late = session_.KeepLate();
  if (first == nullptr) return PendingCall::Start(session_.link(), message, std::move(options));
  options.send = first->rows.Payload();
  // Otherwise more is gathered before the answer is waited for, or room for the rows is, which an
  // answer may end.
  options.attended = message.payload_headers == message.headers.size() &&
                     message.layer_end == model_.spec().num_layers && !first->rows.wraps();
  return writer_.StartWith(first, [&](std::unique_ptr<transport::PayloadFill>* fill) {
    return fill == nullptr ? PendingCall::Start(session_.link(), message, std::move(options))
                           : PendingCall::StartAhead(session_.link(), message, std::move(options),
                                                     nullptr, fill);
  });
}

PublishRun::BatchPtr PublishRun::NewBatch(std::vector<Reserved> segments, bool whole) const {
  return std::make_unique<WriteBatch>(model_.spec(), std::move(segments), writer_.UnitBytes(whole));
}

PublishRun::BatchPtr PublishRun::Sort(const transport::ReserveReply& reply, BatchPtr batch,
                                      bool whole, std::vector<NewSegment>* no_room) {
  std::vector<Reserved> reserved;
  reserved.reserve(batch->segments.size());
  for (size_t i = 0; i < batch->segments.size(); ++i) {
    Reserved& one = batch->segments[i];
    switch (reply.results[i].outcome) {
      case ReserveOutcome::kReserved:
        one.id = reply.results[i].reservation;
        reserved.push_back(one);
        break;
      case ReserveOutcome::kAlreadyHave:
        ++report_.segments_had;
        break;
      case ReserveOutcome::kNoRoom:
        no_room->push_back(one.segment);
        break;
      case ReserveOutcome::kTooLarge:
        ++report_.segments_dropped;
        break;
    }
  }
  if (reserved.empty()) return nullptr;
  if (reserved.size() < batch->segments.size()) {  // what was gathered has rows of others, too
    return NewBatch(std::move(reserved), whole);
  }
  if (reply.written && !batch->gathered.empty()) {
    batch->gathered.pop_front();
    batch->committed = reply.committed;
  }
  return batch;
}

// ---- The end

absl::Status PublishRun::SettleWritten() {
  absl::Status fatal;
  while (!open_.empty() && open_.front()->in_flight == 0) {
    fatal.Update(Settle(*open_.front()));
    open_.pop_front();
  }
  return fatal;
}

absl::Status PublishRun::SettleAll() {
  writer_.Drain();
  return SettleWritten();
}

// A segment that was written in full has been committed by its last write.
absl::Status PublishRun::Settle(const WriteBatch& batch) {
  std::vector<transport::ReservationId> all, failed;
  absl::Status fatal;
  uint64_t bytes = 0, written = 0;
  all.reserve(batch.segments.size());
  for (const Reserved& one : batch.segments) {
    all.push_back(one.id);
    if (one.written.ok()) {
      ++written;
      bytes += SegmentBytes(one.segment);
      continue;
    }
    failed.push_back(one.id);
    if (absl::IsDataLoss(one.written)) ++counters_.checksum_failures;
    if (IsFatal(one.written)) fatal.Update(one.written);
  }
  const uint64_t committed = std::min(batch.committed, written);
  // Which ones were not is not known: those that were take no notice.
  Abort(committed < written ? std::move(all) : std::move(failed));
  report_.segments += committed;
  report_.segments_dropped += batch.segments.size() - committed;
  if (written > 0) report_.bytes += committed == written ? bytes : bytes / written * committed;
  return fatal;
}

void PublishRun::GiveUp() {
  writer_.Drain();
  std::vector<transport::ReservationId> left;
  for (const BatchPtr& batch : open_) {
    left.reserve(left.size() + batch->segments.size());
    for (const Reserved& one : batch->segments) left.push_back(one.id);
  }
  open_.clear();
  Abort(std::move(left));
}

// Nobody waits for it; the node does as much when the session ends.
void PublishRun::Abort(std::vector<transport::ReservationId> reservations) {
  if (!reservations.empty()) session_.Abort(std::move(reservations));
}

absl::Status PublishRun::Link(const std::vector<transport::LinkItem>& links, uint64_t incarnation) {
  // Ids are names within one incarnation of the node.
  if (incarnation != session_.incarnation()) return absl::OkStatus();
  for (size_t from = 0; from < links.size(); from += transport::kMaxItems) {
    const size_t count = std::min<size_t>(transport::kMaxItems, links.size() - from);
    transport::LinkRequest message{{links.begin() + from, links.begin() + from + count}};
    auto reply = CallNow<transport::LinkReply>(session_.link(), std::move(message), Options());
    if (reply.ok()) {
      report_.segments_linked += std::min<uint64_t>(reply->linked, count);
    } else if (IsFatal(reply.status())) {
      return reply.status();
    }
  }
  return absl::OkStatus();
}

}  // namespace cistern::client
