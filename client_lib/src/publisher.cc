#include "client_lib/src/publisher.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/publish_plan.h"

namespace cistern::client {
namespace {

absl::StatusOr<Prompt> CheckedPrompt(const PublishRequest& request) {
  if (request.range.begin > request.range.end || request.range.end > request.tokens.size()) {
    return absl::InvalidArgumentError("the range to publish does not lie within the tokens");
  }
  return MakePrompt(*request.model, request.tokens, request.part_boundaries);
}

PublishPlan PlanOf(const PublishRequest& request, const Prompt& prompt) {
  return PlanPublish({prompt, *request.model, request.fetched.delivered, request.range,
                      request.fetched.approximate_from, !request.rows.pre_rope.empty()});
}

}  // namespace

absl::StatusOr<PublishReport> PublishRows(const PublishRequest& request, Session& session,
                                          Counters* counters) {
  CISTERN_ASSIGN_OR_RETURN(const Prompt prompt, CheckedPrompt(request));
  const PublishPlan plan = PlanOf(request, prompt);
  PublishRun run(*request.model, request.rows, request.arithmetic, &session, counters);
  run.set_deadline(absl::Now() + request.deadline);
  CISTERN_RETURN_IF_ERROR(run.Validate(plan.segments));
  session.GiveBackLate();
  CISTERN_RETURN_IF_ERROR(run.Publish(prompt, plan.segments));
  CISTERN_RETURN_IF_ERROR(run.Link(plan.links, request.fetched.incarnation));
  return run.report();
}

PublishStream::PublishStream(const PublishRequest& request, std::shared_ptr<Session> session,
                             Counters* counters)
    : model_(request.model),
      rows_(request.rows),
      session_(std::move(session)),
      deadline_(request.deadline),
      incarnation_(request.fetched.incarnation),
      run_(*model_, rows_, request.arithmetic, session_.get(), counters) {}

absl::StatusOr<std::unique_ptr<PublishStream>> PublishStream::Start(
    const PublishRequest& request, std::shared_ptr<Session> session, Counters* counters) {
  CISTERN_ASSIGN_OR_RETURN(const Prompt prompt, CheckedPrompt(request));
  PublishPlan plan = PlanOf(request, prompt);
  auto stream = absl::WrapUnique(new PublishStream(request, std::move(session), counters));
  stream->links_ = std::move(plan.links);
  stream->run_.set_deadline(absl::Now() + request.deadline);
  CISTERN_RETURN_IF_ERROR(stream->run_.Validate(plan.segments));
  stream->session_->GiveBackLate();
  CISTERN_RETURN_IF_ERROR(stream->run_.Begin(prompt, plan.segments));
  return stream;
}

absl::Status PublishStream::LayerDone(uint32_t layer) {
  const uint32_t layers = model_->spec().num_layers;
  if (layer >= layers) {
    return absl::InvalidArgumentError(absl::StrCat("layer ", layer, " of ", layers));
  }
  layers_ = std::max(layers_, layer + 1);
  run_.set_deadline(absl::Now() + deadline_);
  run_.Layers(layers_);
  return absl::OkStatus();
}

absl::StatusOr<PublishReport> PublishStream::Finish() {
  if (layers_ < model_->spec().num_layers) {
    return absl::FailedPreconditionError(absl::StrCat(
        "layers from ", layers_, " on are not done: they would be published as they are now"));
  }
  run_.set_deadline(absl::Now() + deadline_);
  CISTERN_RETURN_IF_ERROR(run_.Finish());
  CISTERN_RETURN_IF_ERROR(run_.Link(links_, incarnation_));
  return run_.report();
}

}  // namespace cistern::client
