#include "tools/bench/hybrid_replay.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "tools/bench/prefix_bound.h"
#include "tools/bench/worker_cache.h"
#include "tools/bench/worker_state.h"

namespace cistern::tools {
namespace {

uint32_t HybridCallsOf(const Trace& trace, uint32_t limit) {
  const auto all = static_cast<uint32_t>(trace.calls.size());
  return limit == 0 ? all : std::min(limit, all);
}

uint32_t LongestSequence(const Trace& trace, uint32_t calls) {
  size_t longest = 0;
  for (uint32_t i = 0; i < calls; ++i) {
    longest = std::max(longest, trace.calls[i].Sequence().size());
  }
  return static_cast<uint32_t>(longest);
}

// One run: the client, the worker's cache and state, and what has been seen so far.
class HybridRun {
 public:
  HybridRun(Client& client, const HybridReplayOptions& options, const StateModel& state_model,
            StateOracle& oracle, uint32_t longest)
      : client_(client),
        options_(options),
        model_(options.model),
        state_model_(state_model),
        oracle_(oracle),
        cache_(options.model, longest),
        state_(state_model) {
    policy_.deadline = options.plan_deadline;
  }

  absl::Status One(const Call& call) {
    sequence_ = call.Sequence();
    prompt_tokens_ = call.Tokens().size();
    boundaries_ = options_.flat ? std::vector<uint32_t>{} : call.SequenceBoundaries();
    cache_.Begin(sequence_);
    state_.Begin(sequence_);
    oracle_.Begin(sequence_);
    ++report_.calls;
    report_.prompt_tokens += prompt_tokens_;
    report_.bound_tokens += bound_.Add(sequence_, prompt_tokens_);

    std::vector<uint32_t> wanted;
    const FetchResult fetched = PlanAndFetch(&wanted);
    Verify(fetched);
    cache_.Compute({fetched.state_position, static_cast<uint32_t>(sequence_.size())});
    PublishRows(fetched);
    return PublishStates(fetched, wanted);
  }

  const HybridReport& report() const { return report_; }

 private:
  void CountFailure(const absl::Status& status, uint64_t* failures) {
    ++*failures;
    if (report_.first_error.empty()) report_.first_error = status.ToString();
  }

  FetchResult PlanAndFetch(std::vector<uint32_t>* wanted) {
    const uint64_t failed_before = client_.stats().plan_failures;
    const std::span<const base::TokenId> prompt(sequence_.data(), prompt_tokens_);
    absl::StatusOr<Plan> plan = client_.MakePlan(model_, prompt, policy_, PromptBoundaries());
    if (!plan.ok()) {
      CountFailure(plan.status(), &report_.failed_plans);
      return {};
    }
    if (client_.stats().plan_failures != failed_before) {  // a plan without reuse, by its deadline
      CountFailure(absl::DeadlineExceededError("the node did not answer within a plan's deadline"),
                   &report_.failed_plans);
    }
    *wanted = plan->wanted_states();
    const Resume resume = plan->resume();
    if (resume.position == 0) return {};

    FetchOptions fetch_options{.state = state_.view(), .constants = state_model_.constants()};
    if (model_.rotary_bytes() != 0) {
      fetch_options.pre_rope = cache_.pre_rope();
      fetch_options.pre_rope_stride = cache_.pre_rope_stride();
    }
    absl::StatusOr<FetchHandle> fetch =
        client_.Fetch(*std::move(plan), cache_.Destination(), fetch_options);
    absl::StatusOr<FetchResult> result = fetch.ok() ? fetch->Wait() : fetch.status();
    if (!result.ok() || result->state_position == 0) {
      CountFailure(
          result.ok() ? absl::UnavailableError("a planned state did not come") : result.status(),
          &report_.failed_fetches);
      state_.Begin(sequence_);  // something of it may have come
      return {};
    }
    report_.folded_tokens += resume.folded_tokens;
    report_.state_bytes_moved += result->state_bytes;
    report_.bytes_moved += result->state_bytes + result->bytes_memory + result->bytes_disk;
    return *std::move(result);
  }

  std::vector<uint32_t> PromptBoundaries() const {
    std::vector<uint32_t> boundaries = boundaries_;
    std::erase_if(boundaries, [&](uint32_t at) { return at >= prompt_tokens_; });
    return boundaries;
  }

  void Verify(const FetchResult& fetched) {
    for (const Span& span : fetched.delivered) {
      report_.rows_verified += uint64_t{span.end - span.begin} * model_.num_layers;
      report_.rows_mismatched += cache_.CountMismatches({span.begin, span.end}, -1);
    }
    if (fetched.state_position == 0) return;
    state_.Resumed(fetched.state_position);
    report_.recovered_tokens += fetched.state_position;
    const StateCheck check = oracle_.Check(fetched.state_position, state_.view());
    oracle_.Keep(fetched.state_position);
    report_.max_relative_l2 = std::max(report_.max_relative_l2, check.relative_l2);
    ++report_.states_verified;
    const double tolerance = StateTolerance(model_.state.temporal_type);
    if (!(check.relative_l2 <= tolerance) || !check.conv_equal) ++report_.states_mismatched;
  }

  void PublishRows(const FetchResult& fetched) {
    const TokenRange all{0, static_cast<uint32_t>(sequence_.size())};
    const absl::StatusOr<PublishReport> published = client_.Publish(
        model_, sequence_, fetched, all, cache_.Source(model_.rotary_bytes() != 0), boundaries_);
    if (!published.ok()) CountFailure(published.status(), &report_.failed_publishes);
  }

  absl::Status PublishStates(const FetchResult& fetched, std::span<const uint32_t> wanted) {
    const uint32_t resumed = fetched.state_position;
    const std::vector<uint32_t> points =
        StatePoints(options_.scheme, resumed, wanted, static_cast<uint32_t>(sequence_.size()));
    if (points.empty()) return absl::OkStatus();
    StateSource source;
    for (const uint32_t point : points) {
      CISTERN_RETURN_IF_ERROR(state_.Advance(point));
      source.points.push_back(state_.Copy());
    }
    oracle_.Keep(points.back());
    const StatePolicy policy{.max_chain_tokens = LongestLog(options_.scheme, model_.state)};
    const LogRange range = LogRangeOf(resumed, points, policy.max_chain_tokens);
    source.log = state_.Log(range.begin, range.end);
    const absl::StatusOr<StateReport> published =
        client_.PublishStates(model_, sequence_, fetched, source, policy, boundaries_);
    if (!published.ok()) {
      CountFailure(published.status(), &report_.failed_publishes);
      return absl::OkStatus();
    }
    report_.checkpoints_stored += published->checkpoints;
    report_.logs_stored += published->logs;
    report_.states_dropped += published->dropped;
    report_.bytes_stored += published->bytes;
    return absl::OkStatus();
  }

  Client& client_;
  const HybridReplayOptions& options_;
  const base::ModelSpec& model_;
  const StateModel& state_model_;
  StateOracle& oracle_;
  WorkerCache cache_;
  WorkerState state_;
  PlanPolicy policy_;
  PrefixBound bound_;
  HybridReport report_;
  std::vector<base::TokenId> sequence_;
  size_t prompt_tokens_ = 0;
  std::vector<uint32_t> boundaries_;
};

}  // namespace

double StateTolerance(base::StateType type) {
  return type == base::StateType::kFloat32 ? 5e-6 : 2e-2;
}

absl::StatusOr<HybridReport> HybridReplay(Client& client, const Trace& trace,
                                          const HybridReplayOptions& options,
                                          const StateModel& state_model, StateOracle& oracle) {
  CISTERN_RETURN_IF_ERROR(options.model.Validate());
  if (!options.model.state.present()) {
    return absl::InvalidArgumentError("the model has no recurrent layers");
  }
  const uint32_t calls = HybridCallsOf(trace, options.calls);
  if (calls == 0) return absl::InvalidArgumentError("the trace has no calls");
  HybridRun run(client, options, state_model, oracle, LongestSequence(trace, calls));
  for (uint32_t i = 0; i < calls; ++i) {
    CISTERN_RETURN_IF_ERROR(run.One(trace.calls[i]));
    if (options.after_call) options.after_call(i + 1, calls);
  }
  HybridReport report = run.report();
  report.workload = trace.name;
  report.model = options.model.name;
  report.scheme = std::string(ToString(options.scheme));
  report.row_layers = options.model.num_layers;
  report.state_layers = options.model.state.num_layers;
  return report;
}

uint64_t HybridWorkingSetBytes(const Trace& trace, uint32_t calls, const base::ModelSpec& model) {
  PrefixBound bound;
  uint64_t fresh = 0;
  for (uint32_t i = 0; i < HybridCallsOf(trace, calls); ++i) {
    const std::vector<base::TokenId> sequence = trace.calls[i].Sequence();
    fresh += sequence.size() - bound.Add(sequence, sequence.size());
  }
  // A call stores its end and at most one branch point, or the multiples of what is new.
  const uint64_t states = uint64_t{2} * HybridCallsOf(trace, calls) + fresh / kMultiple;
  return fresh * model.token_bytes() + states * model.state.checkpoint_bytes();
}

}  // namespace cistern::tools
