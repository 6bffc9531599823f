#include "client_lib/src/publisher.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/publish_plan.h"
#include "client_lib/src/segment_writer.h"

namespace cistern::client {
namespace {

using transport::ReserveOutcome;

constexpr uint64_t kBatchBytes = 64 << 20;  // reserved at a time
constexpr uint32_t kBatchSegments = 1024;
constexpr absl::Duration kNoRoomPause = absl::Milliseconds(10);

class Publishing {
 public:
  Publishing(const PublishRequest& request, const Prompt& prompt, Session* session,
             Counters* counters)
      : request_(request),
        prompt_(prompt),
        session_(*session),
        counters_(*counters),
        writer_(request.model->spec(), request.rows, session, request.deadline) {}

  absl::StatusOr<PublishReport> Run(const PublishPlan& plan) {
    CISTERN_RETURN_IF_ERROR(writer_.Validate(plan.segments));
    session_.GiveBackLate();
    for (size_t from = 0; from < plan.segments.size();) {
      const size_t count = BatchSize(plan.segments, from);
      CISTERN_RETURN_IF_ERROR(Batch(std::span(plan.segments).subspan(from, count), /*again=*/true));
      from += count;
    }
    CISTERN_RETURN_IF_ERROR(Link(plan.links));
    return report_;
  }

 private:
  size_t BatchSize(const std::vector<NewSegment>& segments, size_t from) const {
    uint64_t bytes = 0;
    size_t count = 0;
    while (from + count < segments.size() && count < kBatchSegments && bytes < kBatchBytes) {
      bytes += SegmentBytes(segments[from + count++]);
    }
    return count;
  }

  uint64_t SegmentBytes(const NewSegment& segment) const {
    return (segment.end - segment.begin) * request_.model->spec().token_bytes();
  }

  // Reserve, write, commit. What finds no room is tried `again`, once, a little later.
  absl::Status Batch(std::span<const NewSegment> segments, bool again) {
    CISTERN_ASSIGN_OR_RETURN(transport::ReserveReply reply, Reserve(segments));
    std::vector<Reserved> reserved;
    std::vector<NewSegment> no_room;
    for (size_t i = 0; i < segments.size(); ++i) {
      switch (reply.results[i].outcome) {
        case ReserveOutcome::kReserved:
          reserved.push_back({segments[i], reply.results[i].reservation, absl::OkStatus()});
          break;
        case ReserveOutcome::kAlreadyHave:
          ++report_.segments_had;
          break;
        case ReserveOutcome::kNoRoom:
          no_room.push_back(segments[i]);
          break;
        case ReserveOutcome::kTooLarge:
          ++report_.segments_dropped;
          break;
      }
    }
    writer_.Write(&reserved);
    CISTERN_RETURN_IF_ERROR(Settle(reserved));
    if (no_room.empty()) return absl::OkStatus();
    if (!again || absl::Now() + kNoRoomPause >= request_.deadline) {
      report_.segments_dropped += no_room.size();
      return absl::OkStatus();
    }
    absl::SleepFor(kNoRoomPause);  // others commit or release meanwhile
    return Batch(no_room, /*again=*/false);
  }

  absl::StatusOr<transport::ReserveReply> Reserve(std::span<const NewSegment> segments) {
    transport::ReserveRequest message;
    for (const NewSegment& segment : segments) message.headers.push_back(HeaderOf(segment));
    auto reply = session_.WithModel(*request_.model, request_.deadline, [&] {
      transport::CallOptions options = Options();
      options.late = session_.KeepLate();
      return CallNow<transport::ReserveReply>(session_.link(), message, std::move(options));
    });
    if (reply.ok() && reply->results.size() != segments.size()) {
      return absl::InternalError("the node's answer to Reserve has another number of results");
    }
    return reply;
  }

  base::ObjectHeader HeaderOf(const NewSegment& segment) const {
    base::ObjectHeader header;
    header.model = request_.model->fingerprint();
    header.tenant = request_.model->keys().tenant();
    header.content = segment.content;
    header.context = segment.context;
    header.parent_context = segment.parent_context;
    header.base_position = segment.begin;
    header.encoding = segment.encoding;
    header.arithmetic = request_.arithmetic;
    header.lineage = segment.lineage;
    const auto tokens = prompt_.Tokens(segment.begin, segment.end);
    header.tokens.assign(tokens.begin(), tokens.end());
    return header;
  }

  // Commits what was written in full, gives the rest up.
  absl::Status Settle(const std::vector<Reserved>& reserved) {
    transport::CommitRequest commit;
    std::vector<transport::ReservationId> abandoned;
    absl::Status fatal;
    uint64_t bytes = 0;
    for (const Reserved& one : reserved) {
      if (one.written.ok()) {
        commit.reservations.push_back(one.id);
        bytes += SegmentBytes(one.segment);
        continue;
      }
      abandoned.push_back(one.id);
      if (absl::IsDataLoss(one.written)) ++counters_.checksum_failures;
      if (IsFatal(one.written)) fatal.Update(one.written);
    }
    report_.segments_dropped += abandoned.size();
    Abort(std::move(abandoned));
    if (commit.reservations.empty()) return fatal;
    const size_t count = commit.reservations.size();
    auto reply = CallNow<transport::CommitReply>(session_.link(), commit, Options());
    if (!reply.ok()) {
      report_.segments_dropped += count;
      Abort(std::move(commit.reservations));
      return IsFatal(reply.status()) ? reply.status() : fatal;
    }
    const uint64_t committed = std::min<uint64_t>(reply->committed, count);
    report_.segments += committed;
    report_.segments_dropped += count - committed;
    report_.bytes += committed == count ? bytes : bytes / count * committed;
    return fatal;
  }

  // Nobody waits for it; the node does as much when the session ends.
  void Abort(std::vector<transport::ReservationId> reservations) {
    if (!reservations.empty()) session_.Abort(std::move(reservations));
  }

  absl::Status Link(const std::vector<transport::LinkItem>& links) {
    // Ids are names within one incarnation of the node.
    if (request_.fetched.incarnation != session_.incarnation()) return absl::OkStatus();
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

  static bool IsFatal(const absl::Status& status) {
    return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
           absl::IsCancelled(status);
  }

  transport::CallOptions Options() const {
    transport::CallOptions options;
    options.deadline = session_.CallDeadline(request_.deadline);
    return options;
  }

  const PublishRequest& request_;
  const Prompt& prompt_;
  Session& session_;
  Counters& counters_;
  SegmentWriter writer_;
  PublishReport report_;
};

}  // namespace

absl::StatusOr<PublishReport> PublishRows(const PublishRequest& request, Session& session,
                                          Counters* counters) {
  if (request.range.begin > request.range.end || request.range.end > request.tokens.size()) {
    return absl::InvalidArgumentError("the range to publish does not lie within the tokens");
  }
  CISTERN_ASSIGN_OR_RETURN(const Prompt prompt,
                           MakePrompt(*request.model, request.tokens, request.part_boundaries));
  const PublishPlan plan =
      PlanPublish({prompt, *request.model, request.fetched.delivered, request.range,
                   request.fetched.approximate_from, !request.rows.pre_rope.empty()});
  return Publishing(request, prompt, &session, counters).Run(plan);
}

}  // namespace cistern::client
