#include "client_lib/src/client_impl.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/planner.h"
#include "client_lib/src/publisher.h"
#include "client_lib/src/state_publish.h"

namespace cistern::client {

// More than any machine has processors for.
constexpr uint32_t kMaxFetchThreads = 1024;

absl::Status ValidateOptions(const ClientOptions& options) {
  const auto positive = [](absl::Duration d, absl::string_view name) {
    return d > absl::ZeroDuration()
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat(name, " must be positive"));
  };
  CISTERN_RETURN_IF_ERROR(positive(options.connect_timeout, "connect_timeout"));
  CISTERN_RETURN_IF_ERROR(positive(options.call_deadline, "call_deadline"));
  CISTERN_RETURN_IF_ERROR(positive(options.reconnect_backoff, "reconnect_backoff"));
  CISTERN_RETURN_IF_ERROR(positive(options.publish_deadline, "publish_deadline"));
  if (options.fetch_threads > kMaxFetchThreads) {
    return absl::InvalidArgumentError(
        absl::StrCat("fetch_threads is ", options.fetch_threads, ", more than ", kMaxFetchThreads));
  }
  if (options.max_staging_bytes < 1 << 20) {
    return absl::InvalidArgumentError("max_staging_bytes is below 1 MiB");
  }
  return absl::OkStatus();
}

ClientImpl::ClientImpl(std::unique_ptr<transport::Link> link, Connector connector,
                       const ClientOptions& options, const base::Clock* clock, uint64_t seed)
    : options_(options),
      rates_(options.cost),
      models_(options.salt),
      connection_(
          std::move(link), std::move(connector),
          {options.call_deadline, options.max_staging_bytes, options.reconnect_backoff, seed},
          clock, &counters_),
      breaker_(options.reconnect_backoff, clock),
      blobs_(options.salt, options.max_staging_bytes, &connection_, &counters_,
             [this](absl::FunctionRef<absl::Status()> call) { return Guarded(call); }),
      fetcher_(options.fetch_threads, options.max_queued_fetches, &counters_, &rates_) {}

template <typename Fn>
absl::Status ClientImpl::Guarded(Fn call) {
  const Breaker::Pass pass = breaker_.Enter();
  if (pass == Breaker::Pass::kNone) {
    ++counters_.refused_slow;
    return absl::UnavailableError("the node is too slow; it is asked again in a while");
  }
  absl::Status status = call();
  breaker_.Report(pass, status);
  return status;
}

absl::StatusOr<Plan> ClientImpl::MakePlan(const ModelSpec& model, std::span<const TokenId> tokens,
                                          const PlanPolicy& policy,
                                          std::span<const uint32_t> part_boundaries) {
  ++counters_.plans;
  auto plan = TryPlan(model, tokens, policy, part_boundaries);
  if (!plan.ok()) ++counters_.plan_failures;
  return plan;
}

absl::StatusOr<Plan> ClientImpl::TryPlan(const ModelSpec& model, std::span<const TokenId> tokens,
                                         const PlanPolicy& policy,
                                         std::span<const uint32_t> part_boundaries) {
  PlanRequest request;
  CISTERN_ASSIGN_OR_RETURN(request.model, models_.Find(model));
  request.tokens = tokens;
  request.part_boundaries = part_boundaries;
  request.policy = policy;
  request.cost = rates_.Now();
  request.arithmetic = options_.arithmetic;
  if (policy.reuse == Reuse::kNone) return client::MakePlan(request, nullptr, nullptr);
  CISTERN_ASSIGN_OR_RETURN(const std::shared_ptr<Session> session, connection_.Current());
  bool timed_out = false;
  absl::StatusOr<Plan> plan;
  const absl::Status asked = Guarded([&] {
    plan = client::MakePlan(request, session, &timed_out);
    return timed_out ? absl::DeadlineExceededError("") : plan.status();
  });
  if (!asked.ok() && !timed_out) return asked;
  if (timed_out) ++counters_.plan_failures;
  if (plan.ok()) counters_.token_mismatches += plan->stats().token_mismatches;
  return plan;
}

absl::StatusOr<FetchHandle> ClientImpl::Fetch(Plan&& plan, const PagedCache& destination,
                                              const FetchOptions& options) {
  ++counters_.fetches;
  const PlanImpl* const impl = plan.impl();
  const auto failed = [&](absl::Status status) {
    ++counters_.fetch_failures;
    return status;
  };
  if (impl == nullptr) {
    return failed(absl::InvalidArgumentError("a plan is fetched once, and only one that was made"));
  }
  Destination target(destination, options);
  const base::ModelSpec& spec = impl->model->spec();
  if (absl::Status valid = target.Validate(spec, impl->spans); !valid.ok()) return failed(valid);
  const uint32_t resume = impl->resume.position;
  if (resume > 0) {
    absl::Status valid = ValidateStateView(spec.state, options.state);
    valid.Update(ValidateStateConstants(spec.state, options.constants));
    if (!impl->session->mapped()) valid.Update(CheckStaging(spec.state, *impl->session));
    if (!valid.ok()) return failed(valid);
  }
  const uint64_t incarnation = impl->session == nullptr ? 0 : impl->session->incarnation();
  auto state = std::make_shared<FetchState>(impl->spans, spec.num_layers, resume, incarnation,
                                            absl::Now() + options.deadline);
  auto job = std::make_unique<FetchJob>(FetchJob{PlanImpl::Unwrap(std::move(plan)),
                                                 std::move(target), options.on_layer, options.state,
                                                 options.constants, options_.arithmetic, state});
  if (absl::Status queued = fetcher_.Submit(&job); !queued.ok()) {
    plan = PlanImpl::Wrap(std::move(job->plan));
    return failed(queued);
  }
  return FetchHandle(std::make_unique<FetchHandle::Impl>(std::move(state), fetcher_.queue()));
}

template <typename Request, typename Fn>
auto ClientImpl::Sharing(const ModelSpec& model, Request request, Fn send)
    -> decltype(send(request, nullptr)) {
  using Answer = decltype(send(request, nullptr));
  ++counters_.publishes;
  const auto publish = [&]() -> Answer {
    CISTERN_ASSIGN_OR_RETURN(request.model, models_.Find(model));
    CISTERN_ASSIGN_OR_RETURN(std::shared_ptr<Session> session, connection_.Current());
    request.deadline = options_.publish_deadline;
    Answer answer = absl::UnknownError("");
    CISTERN_RETURN_IF_ERROR(Guarded([&] {
      answer = send(request, std::move(session));
      return answer.status();
    }));
    return answer;
  };
  auto answer = publish();
  if (!answer.ok()) ++counters_.publish_failures;
  return answer;
}

absl::StatusOr<PublishReport> ClientImpl::Publish(const ModelSpec& model,
                                                  std::span<const TokenId> tokens,
                                                  const FetchResult& fetched, TokenRange range,
                                                  const RowSource& rows,
                                                  std::span<const uint32_t> part_boundaries) {
  return Sharing(
      model,
      PublishRequest{nullptr, tokens, part_boundaries, fetched, range, rows, options_.arithmetic},
      [this](const PublishRequest& request, const std::shared_ptr<Session>& session) {
        return PublishRows(request, *session, &counters_);
      });
}

absl::StatusOr<PublishHandle> ClientImpl::StartPublish(const ModelSpec& model,
                                                       std::span<const TokenId> tokens,
                                                       const FetchResult& fetched, TokenRange range,
                                                       const RowSource& rows,
                                                       std::span<const uint32_t> part_boundaries) {
  auto stream = Sharing(
      model,
      PublishRequest{nullptr, tokens, part_boundaries, fetched, range, rows, options_.arithmetic},
      [this](const PublishRequest& request, std::shared_ptr<Session> session) {
        return PublishStream::Start(request, std::move(session), &counters_);
      });
  if (!stream.ok()) return stream.status();
  return PublishHandle(std::make_unique<PublishHandle::Impl>(*std::move(stream), &counters_));
}

absl::StatusOr<StateReport> ClientImpl::PublishStates(const ModelSpec& model,
                                                      std::span<const TokenId> tokens,
                                                      const FetchResult& fetched,
                                                      const StateSource& source,
                                                      const StatePolicy& policy,
                                                      std::span<const uint32_t> part_boundaries) {
  return Sharing(
      model, StatePublishRequest{nullptr, tokens, part_boundaries, fetched, source, policy, {}},
      [this](const StatePublishRequest& request, const std::shared_ptr<Session>& session) {
        return client::PublishStates(request, *session, &counters_);
      });
}

}  // namespace cistern::client

namespace cistern {

FetchHandle::FetchHandle() = default;
FetchHandle::FetchHandle(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FetchHandle::~FetchHandle() { Cancel(); }
FetchHandle::FetchHandle(FetchHandle&&) noexcept = default;
FetchHandle& FetchHandle::operator=(FetchHandle&& other) noexcept {
  if (this != &other) {
    Cancel();
    impl_ = std::move(other.impl_);
  }
  return *this;
}

absl::Status FetchHandle::WaitLayer(uint32_t layer) {
  if (impl_ == nullptr) return absl::InvalidArgumentError("this handle has no fetch");
  if (layer < impl_->state->num_layers()) impl_->queue->Help(impl_->state.get(), layer + 1);
  return impl_->state->WaitLayer(layer);
}

std::vector<TokenRange> FetchHandle::Missing() const {
  if (impl_ == nullptr) return {};
  return impl_->state->Missing();
}

absl::StatusOr<FetchResult> FetchHandle::Wait() {
  if (impl_ == nullptr) return absl::InvalidArgumentError("this handle has no fetch");
  impl_->queue->Help(impl_->state.get(), impl_->state->num_layers());
  return impl_->state->Wait();
}

void FetchHandle::Cancel() {
  if (impl_ != nullptr) impl_->state->Cancel();
}

PublishHandle::PublishHandle() = default;
PublishHandle::PublishHandle(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PublishHandle::~PublishHandle() = default;
PublishHandle::PublishHandle(PublishHandle&&) noexcept = default;
PublishHandle& PublishHandle::operator=(PublishHandle&&) noexcept = default;

absl::Status PublishHandle::LayerDone(uint32_t layer) {
  if (impl_ == nullptr || impl_->stream == nullptr) {
    return absl::InvalidArgumentError("this handle has no publish");
  }
  return impl_->stream->LayerDone(layer);
}

absl::StatusOr<PublishReport> PublishHandle::Finish() {
  if (impl_ == nullptr || impl_->stream == nullptr) {
    return absl::InvalidArgumentError("this handle has no publish");
  }
  auto report = impl_->stream->Finish();
  if (absl::IsFailedPrecondition(report.status())) return report;
  impl_->stream.reset();
  if (!report.ok()) ++impl_->counters->publish_failures;
  return report;
}

}  // namespace cistern
