#include "client_lib/src/planner.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/find_match.h"
#include "client_lib/src/hybrid_match.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/select.h"

namespace cistern::client {
namespace {

using transport::FindReply;
using transport::FindRequest;

FindRequest AskFor(const PlanRequest& request, const Prompt& prompt) {
  FindRequest find;
  find.model = request.model->fingerprint();
  find.start_context = request.model->keys().ContextSeed();
  find.lossless = request.policy.reuse == Reuse::kExact;
  find.neighbours = request.policy.partial_segments;
  find.states = request.model->spec().state.present();
  // A prompt of more chunks than one message holds is asked for as far as it goes.
  const size_t count = std::min<size_t>(prompt.chunks.size(), transport::kMaxItems);
  find.items.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Chunk& chunk = prompt.chunks[i];
    const bool movable = request.policy.reuse == Reuse::kContent &&
                         request.model->spec().movable() &&
                         chunk.begin >= request.policy.sink_tokens;
    find.items.push_back({chunk.content, chunk.context, movable});
  }
  return find;
}

// One round trip. A reply that comes after `until` gives its leases back later.
absl::StatusOr<FindReply> Find(Session& session, const FindRequest& request, absl::Time until) {
  transport::CallOptions options;
  options.deadline = session.call_deadline();
  options.late = session.KeepLate();
  options.attended = true;
  auto call = PendingCall::Start(session.link(), request, std::move(options));
  if (!call->WaitUntil(until)) {
    call->Abandon([late = session.late_book()](const absl::StatusOr<transport::Reply>& reply) {
      if (reply.ok()) late->Add(*reply);
    });
    return absl::DeadlineExceededError("the node did not answer Find within the plan's deadline");
  }
  return As<FindReply>(call->Take());
}

void ReleaseAll(Session& session, const FindReply& reply) {
  std::vector<transport::LeaseId> leases;
  for (const transport::ObjectRef& object : reply.objects) {
    if (object.lease != 0) leases.push_back(object.lease);
  }
  if (!leases.empty()) session.Release(std::move(leases));
}

PlannedObject Planned(const FindReply& reply, const transport::ObjectRef& object) {
  PlannedObject planned;
  planned.id = object.id;
  planned.lease = object.lease;
  const std::span<const base::BlockRef> blocks = reply.BlocksOf(object);
  planned.blocks.assign(blocks.begin(), blocks.end());
  planned.on_disk = object.where == transport::Where::kDisk;
  planned.num_tokens = object.tokens.count;
  planned.base_position = object.header.base_position;
  planned.encoding = object.header.encoding;
  planned.arithmetic = object.header.arithmetic;
  return planned;
}

Span SpanOf(const Piece& piece, const transport::ObjectRef& object, const PlanRequest& request) {
  const base::ObjectHead& header = object.header;
  Span span;
  span.begin = piece.begin;
  span.end = piece.end;
  span.kind = piece.quality == Quality::kContent ? SpanKind::kContent : SpanKind::kExact;
  span.lossless = piece.lossless();
  span.on_disk = object.where == transport::Where::kDisk;
  span.first_token = piece.first_token;
  span.object_id = object.id;
  span.source_position = header.base_position + piece.first_token;
  span.encoding = header.encoding;
  span.object_tokens = object.tokens.count;
  span.content = header.content;
  span.native =
      !piece.moved() && (header.encoding == base::RotaryEncoding::kUnrotated ||
                         request.model->position_free() || header.arithmetic == request.arithmetic);
  return span;
}

void Count(const Span& span, PlanStats* stats) {
  const uint32_t tokens = span.end - span.begin;
  switch (span.kind) {
    case SpanKind::kExact:
      stats->exact_tokens += tokens;
      if (span.lossless) stats->lossless_tokens += tokens;
      break;
    case SpanKind::kContent:
      stats->content_tokens += tokens;
      break;
    case SpanKind::kCompute:
      stats->compute_tokens += tokens;
      break;
  }
}

void AppendSpan(const Span& span, PlanImpl* plan) {
  Count(span, &plan->stats);
  plan->spans.push_back(span);
}

void AppendCompute(uint32_t begin, uint32_t end, PlanImpl* plan) {
  if (begin < end) AppendSpan(Span{begin, end}, plan);
}

// Spans without gaps; the objects that they use move into the plan, with their leases. Leases of
// the others stay in `reply`.
void Assemble(const PlanRequest& request, const Pieces& pieces, FindReply* reply, PlanImpl* plan) {
  constexpr uint32_t kUnused = UINT32_MAX;
  std::vector<uint32_t> index(reply->objects.size(), kUnused);
  uint32_t position = 0;
  for (const Piece& piece : pieces) {
    AppendCompute(position, piece.begin, plan);
    transport::ObjectRef& object = reply->objects[piece.object];
    Span span = SpanOf(piece, object, request);
    if (index[piece.object] == kUnused) {
      index[piece.object] = static_cast<uint32_t>(plan->objects.size());
      plan->objects.push_back(Planned(*reply, object));
      object.lease = 0;
    }
    span.object = index[piece.object];
    AppendSpan(span, plan);
    position = piece.end;
  }
  AppendCompute(position, plan->num_tokens, plan);
}

// A span that is not the whole of a chunk, or lies in the last one.
void MarkBesideComputed(const Prompt& prompt, PlanImpl* plan) {
  size_t i = 0;
  for (const Span& span : plan->spans) {
    while (prompt.chunks[i].end <= span.begin) ++i;
    const Chunk& chunk = prompt.chunks[i];
    const bool whole = span.content == chunk.content &&
                       span.begin == chunk.begin + span.first_token && i + 1 < prompt.chunks.size();
    plan->beside_computed.push_back(!whole);
  }
}

// The objects that the state is made from move into the plan, with their leases.
void TakeStates(const ResumePoint& point, FindReply* reply, PlanImpl* plan) {
  for (const StateStep& step : point.steps) {
    transport::ObjectRef& object = reply->objects[step.object];
    PlannedState state;
    state.id = object.id;
    state.lease = std::exchange(object.lease, 0);
    const std::span<const base::BlockRef> blocks = reply->BlocksOf(object);
    state.blocks.assign(blocks.begin(), blocks.end());
    state.on_disk = object.where == transport::Where::kDisk;
    state.kind = object.header.kind;
    state.tails = object.header.tails;
    state.num_tokens = object.tokens.count;
    state.used_tokens = step.tokens;
    plan->states.push_back(std::move(state));
  }
}

Pieces Match(const PlanRequest& request, const Prompt& prompt, FindReply* reply, PlanImpl* plan) {
  const MatchInput match{prompt, *request.model, request.policy, *reply};
  PlanStats* stats = &plan->stats;
  if (request.model->spec().state.present()) {
    HybridMatch hybrid = MatchHybrid(match, request.cost, &stats->token_mismatches);
    stats->left_out_tokens = hybrid.left_out_tokens;
    plan->resume = hybrid.resume;
    plan->wanted_states = std::move(hybrid.wanted_states);
    TakeStates(hybrid.point, reply, plan);
    return std::move(hybrid.pieces);
  }
  Pieces pieces = FillGaps(match, WholeChunks(match, &stats->token_mismatches));
  const SelectInput select{request.policy, request.cost, reply->objects,
                           static_cast<uint32_t>(prompt.tokens.size()),
                           request.model->spec().token_bytes()};
  stats->left_out_tokens = Select(select, &pieces);
  return pieces;
}

}  // namespace

absl::StatusOr<Plan> MakePlan(const PlanRequest& given, std::shared_ptr<Session> session,
                              bool* timed_out) {
  PlanRequest request = given;
  // State depends on the whole past: what is to go with it must, too.
  if (request.model->spec().state.present() && request.policy.reuse == Reuse::kContent) {
    request.policy.reuse = Reuse::kExact;
  }
  const absl::Time until = absl::Now() + request.policy.deadline;
  CISTERN_ASSIGN_OR_RETURN(const Prompt prompt,
                           MakePrompt(*request.model, request.tokens, request.part_boundaries));
  auto plan = std::make_unique<PlanImpl>();
  plan->model = request.model;
  plan->num_tokens = static_cast<uint32_t>(prompt.tokens.size());
  plan->stats.chunks = prompt.chunks.size();
  const bool ask = request.policy.reuse != Reuse::kNone && !prompt.chunks.empty();
  FindReply reply;
  Pieces pieces;
  if (ask) {
    if (session == nullptr) return absl::UnavailableError("no node is connected");
    FindRequest find = AskFor(request, prompt);
    find.release = session->TakeLate();
    auto found =
        session->WithModel(*request.model, until, [&] { return Find(*session, find, until); });
    // Whether the node has read it is not known; what it has is given back a second time.
    if (!found.ok()) session->Release(std::move(find.release));
    if (found.ok()) {
      reply = *std::move(found);
      if (absl::Status fits = CheckReply(reply, find.items.size(), *request.model); !fits.ok()) {
        ReleaseAll(*session, reply);
        return fits;
      }
      pieces = Match(request, prompt, &reply, plan.get());
      plan->session = session;
    } else if (absl::IsDeadlineExceeded(found.status())) {
      if (timed_out != nullptr) *timed_out = true;
      plan->stats.timed_out = true;
    } else {
      return found.status();
    }
  }
  Assemble(request, pieces, &reply, plan.get());
  MarkBesideComputed(prompt, plan.get());
  if (ask) ReleaseAll(*session, reply);
  return PlanImpl::Wrap(std::move(plan));
}

}  // namespace cistern::client
