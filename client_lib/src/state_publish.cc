#include "client_lib/src/state_publish.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/device/staged_state.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/state_blocks.h"
#include "client_lib/src/state_plan.h"

namespace cistern::client {
namespace {

using base::ObjectHeader;
using base::ObjectKind;

constexpr uint64_t kStateUnitBytes = 4 << 20;  // of blocks in one call; of one block at least
constexpr size_t kStateUnitsInFlight = 3;

// Where a state's blocks come from.
class StateBytes {
 public:
  StateBytes(const StatePlanInput& input, const ObjectHeader& header, const StatePoint& point)
      : spec_(input.model.spec().state),
        log_(input.source.log),
        point_(point),
        header_(header),
        widths_(spec_.field_bytes()),
        layout_(LayoutOf(spec_, header.kind, header.tails, header.num_tokens())) {}

  const StateLayout& layout() const { return layout_; }

  // Block `index`, as many bytes as it has in use; returns where they end.
  std::byte* Write(uint32_t index, std::byte* to) const {
    if (header_.kind == ObjectKind::kCheckpoint) return WriteLayer(index, to);
    if (index < header_.num_tokens()) return WriteToken(header_.base_position + index, to);
    return WriteTail(index, to);
  }

 private:
  static std::byte* Put(const std::byte* from, uint64_t bytes, std::byte* to) {
    std::memcpy(to, from, bytes);
    return to + bytes;
  }

  std::byte* WriteLayer(uint32_t layer, std::byte* to) const {
    to = Put(point_.state.temporal[layer], spec_.temporal_bytes(), to);
    return spec_.conv_width == 0 ? to : Put(point_.state.conv[layer], spec_.conv_bytes(), to);
  }

  std::byte* WriteToken(uint32_t token, std::byte* to) const {
    const uint64_t row = token - log_.begin;
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      for (size_t i = 0; i < widths_.size(); ++i) {
        const LogSource::Field& field = log_.fields[i];
        to = Put(field.layers[layer] + row * field.token_stride, widths_[i], to);
      }
    }
    if (header_.tails == base::LogTails::kEnd || spec_.conv_width == 0) return to;
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      const LogSource::Field& rows = log_.conv_rows;
      to = Put(rows.layers[layer] + row * rows.token_stride, spec_.conv_row_bytes(), to);
    }
    return to;
  }

  std::byte* WriteTail(uint32_t index, std::byte* to) const {
    uint64_t at = (index - header_.num_tokens()) * layout_.block_bytes;
    for (uint64_t left = layout_.BytesOf(index, index + 1); left > 0;) {
      const uint64_t layer = at / spec_.conv_bytes(), offset = at % spec_.conv_bytes();
      const uint64_t bytes = std::min(left, spec_.conv_bytes() - offset);
      to = Put(point_.state.conv[layer] + offset, bytes, to);
      at += bytes;
      left -= bytes;
    }
    return to;
  }

  const base::StateSpec& spec_;
  const LogSource& log_;
  const StatePoint& point_;
  const ObjectHeader& header_;
  const std::vector<uint64_t> widths_;
  const StateLayout layout_;
};

enum class Outcome { kStored, kHad, kDropped, kRefused };

class StateRun {
 public:
  StateRun(const StatePlanInput& input, Session* session, Counters* counters, absl::Time deadline)
      : input_(input), session_(*session), counters_(*counters), deadline_(deadline) {}

  absl::StatusOr<StateReport> All() {
    uint32_t known = input_.known_position, chain = input_.known_chain_tokens;
    for (uint32_t i = 0; i < input_.source.points.size(); ++i) {
      PlannedPoint planned = PlanPoint(input_, i, known, chain);
      CISTERN_ASSIGN_OR_RETURN(Outcome outcome, One(planned));
      if (outcome == Outcome::kRefused && planned.checkpoint) {
        planned.log = false;
        planned.chain_tokens = 0;
        CISTERN_ASSIGN_OR_RETURN(outcome, One(planned));
      }
      if (outcome == Outcome::kRefused) ++report_.without_base;
      if (outcome == Outcome::kRefused || outcome == Outcome::kDropped) {
        ++report_.dropped;
        continue;
      }
      known = input_.source.points[i].position;
      chain = planned.chain_tokens;
    }
    return report_;
  }

 private:
  absl::StatusOr<Outcome> One(const PlannedPoint& planned) {
    if (!planned.log && !planned.checkpoint) return Outcome::kDropped;
    StatePoint point = input_.source.points[planned.point];
    if (planned.log) point.state.temporal.clear();  // not read
    CISTERN_ASSIGN_OR_RETURN(const StagedState staged,
                             StagedState::Create(input_.model.spec().state, point.state));
    CISTERN_RETURN_IF_ERROR(staged.FromDevice());
    point.state = staged.host();
    const ObjectHeader header = planned.log
                                    ? LogHeader(input_, planned.begin, point.position)
                                    : CheckpointHeader(input_, point.position, planned.begin);
    const StateBytes bytes(input_, header, point);
    CISTERN_ASSIGN_OR_RETURN(const Outcome outcome, Send(header, bytes));
    if (outcome == Outcome::kHad) ++report_.had;
    if (outcome == Outcome::kStored) {
      ++(planned.log ? report_.logs : report_.checkpoints);
      report_.bytes += bytes.layout().payload_bytes;
    }
    return outcome;
  }

  absl::StatusOr<Outcome> Send(const ObjectHeader& header, const StateBytes& bytes) {
    auto reserved = Reserve(header);
    if (!reserved.ok()) {
      if (IsFatal(reserved.status())) return reserved.status();
      return Outcome::kDropped;
    }
    if (reserved->outcome == transport::ReserveOutcome::kAlreadyHave) return Outcome::kHad;
    if (reserved->outcome != transport::ReserveOutcome::kReserved) return Outcome::kDropped;
    const auto written = Write(reserved->reservation, bytes);
    if (written.ok() && *written) return Outcome::kStored;
    session_.Abort({reserved->reservation});
    // All there and not committed: the state that a log needs is not, or no more.
    if (written.ok())
      return header.kind == ObjectKind::kLog ? Outcome::kRefused : Outcome::kDropped;
    if (IsFatal(written.status())) return written.status();
    if (absl::IsDataLoss(written.status())) ++counters_.checksum_failures;
    return Outcome::kDropped;
  }

  absl::StatusOr<transport::ReserveResult> Reserve(const ObjectHeader& header) {
    auto reply = session_.WithModel(input_.model, deadline_, [&] {
      transport::ReserveRequest message;
      message.headers = {header};
      transport::CallOptions options;
      options.deadline = session_.CallDeadline(deadline_);
      options.late = session_.KeepLate();
      return CallNow<transport::ReserveReply>(session_.link(), std::move(message),
                                              std::move(options));
    });
    if (!reply.ok()) return reply.status();
    if (reply->results.size() != 1) {
      session_.late_book()->Add(*reply);
      return absl::InternalError("the node's answer to Reserve has another number of results");
    }
    return reply->results.front();
  }

  // Whether the node has committed it.
  absl::StatusOr<bool> Write(transport::ReservationId id, const StateBytes& bytes) {
    const StateLayout& layout = bytes.layout();
    const uint64_t unit_bytes =
        std::min(kStateUnitBytes, session_.staging().max_bytes() / kStateUnitsInFlight);
    const auto unit = static_cast<uint32_t>(std::max<uint64_t>(1, unit_bytes / layout.block_bytes));
    std::deque<std::shared_ptr<PendingCall>> flying;
    absl::Status status;
    bool committed = false;
    const auto finish_oldest = [&] {
      const std::shared_ptr<PendingCall> call = std::move(flying.front());
      flying.pop_front();
      if (!call->WaitUntil(deadline_)) {  // its payload is moving: the link ends it, some time
        call->Abandon([](const absl::StatusOr<transport::Reply>&) {});
        status.Update(absl::DeadlineExceededError("the node did not take the state in time"));
        return;
      }
      const auto reply = As<transport::WriteReply>(call->Take());
      status.Update(reply.status());
      // Whichever write ends last commits: not always the last one that was started.
      committed |= reply.ok() && reply->committed > 0;
    };
    for (uint32_t begin = 0; begin < layout.num_blocks() && status.ok(); begin += unit) {
      const uint32_t end = std::min(begin + unit, layout.num_blocks());
      auto buffer = Take(layout.BytesOf(begin, end), flying.empty());
      while (absl::IsResourceExhausted(buffer.status()) && !flying.empty()) {
        finish_oldest();
        buffer = Take(layout.BytesOf(begin, end), flying.empty());
      }
      if (!buffer.ok()) {
        status.Update(buffer.status());
        break;
      }
      if (flying.size() == kStateUnitsInFlight) finish_oldest();
      flying.push_back(Start(id, begin, end, bytes, *std::move(buffer)));
    }
    while (!flying.empty()) finish_oldest();
    if (!status.ok()) return status;
    return committed;
  }

  absl::StatusOr<Staging::Lent> Take(uint64_t bytes, bool may_wait) {
    return may_wait ? session_.staging().Take(bytes, deadline_) : session_.staging().TryTake(bytes);
  }

  std::shared_ptr<PendingCall> Start(transport::ReservationId id, uint32_t begin, uint32_t end,
                                     const StateBytes& bytes, Staging::Lent lent) {
    auto buffer = std::make_shared<Staging::Lent>(std::move(lent));
    const transport::MutableSlice memory = buffer->bytes(bytes.layout().BytesOf(begin, end));
    std::byte* to = memory.data();
    for (uint32_t block = begin; block < end; ++block) to = bytes.Write(block, to);
    transport::WriteRequest request;
    request.reservations = {id};
    request.layer_begin = begin;
    request.layer_end = end;
    request.commit = true;
    transport::CallOptions options;
    options.deadline = session_.CallDeadline(deadline_);
    options.send = {memory};
    request.checksum = session_.Checksum(options.send);
    return PendingCall::Start(session_.link(), std::move(request), std::move(options),
                              [buffer]() mutable { buffer.reset(); });
  }

  const StatePlanInput& input_;
  Session& session_;
  Counters& counters_;
  const absl::Time deadline_;
  StateReport report_;
};

}  // namespace

absl::Status CheckStaging(const base::StateSpec& spec, const Session& session) {
  const uint64_t block =
      std::max(spec.layer_bytes(), spec.log_token_bytes(base::LogTails::kEveryToken));
  if (block <= session.staging().max_bytes()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("max_staging_bytes is ",
                                                 session.staging().max_bytes(),
                                                 "; a block of this model's state has ", block));
}

absl::StatusOr<StateReport> PublishStates(const StatePublishRequest& request, Session& session,
                                          Counters* counters) {
  CISTERN_ASSIGN_OR_RETURN(const Prompt prompt,
                           MakePrompt(*request.model, request.tokens, request.part_boundaries));
  const StatePlanInput input{prompt,
                             *request.model,
                             request.fetched.stored_position,
                             request.fetched.stored_chain_tokens,
                             request.source,
                             request.policy};
  CISTERN_RETURN_IF_ERROR(ValidateStates(input));
  CISTERN_RETURN_IF_ERROR(CheckStaging(request.model->spec().state, session));
  session.GiveBackLate();
  return StateRun(input, &session, counters, absl::Now() + request.deadline).All();
}

}  // namespace cistern::client
