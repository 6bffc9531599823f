#include "tools/bench/replay.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "tools/bench/memory_speed.h"
#include "tools/bench/reuse_bound.h"
#include "tools/bench/samples.h"
#include "tools/bench/worker_cache.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kMemcpyRounds = 11;
constexpr uint64_t kMemcpyRegion = 256ull << 20;
constexpr uint64_t kMemcpyChunk = 4ull << 20;

double MicrosecondsSince(absl::Time start) {
  return absl::ToDoubleMicroseconds(absl::Now() - start);
}

uint32_t CallsOf(const Trace& trace, uint32_t limit) {
  const auto all = static_cast<uint32_t>(trace.calls.size());
  return limit == 0 ? all : std::min(limit, all);
}

uint32_t LongestPrompt(const Trace& trace, uint32_t calls) {
  size_t longest = 0;
  for (uint32_t i = 0; i < calls; ++i) longest = std::max(longest, trace.calls[i].Tokens().size());
  return static_cast<uint32_t>(longest);
}

void KeepFirst(std::string* first, const absl::Status& status) {
  if (first->empty()) *first = status.ToString();
}

// One run: the client, the worker's cache and what has been seen so far.
class Run {
 public:
  Run(Client& client, const ReplayOptions& options, uint32_t longest_prompt)
      : client_(client),
        options_(options),
        cache_(options.model, longest_prompt),
        memcpy_(kMemcpyRegion, kMemcpyChunk) {}

  void One(const Call& call) {
    tokens_ = call.Tokens();
    boundaries_ = options_.flat ? std::vector<uint32_t>{} : call.PartBoundaries();
    cache_.Begin(tokens_);
    report_.prompt_tokens += tokens_.size();
    report_.bound_tokens += bound_.Add(tokens_);
    ++report_.calls;

    const FetchResult fetched = PlanAndFetch();
    Verify(fetched);
    ComputeTheRest(fetched);
    Publish(fetched);
  }

  void MemcpyRound() { memcpy_.Round(); }

  ReplayReport Finish() {
    report_.fetch_gbps =
        fetch_seconds_ == 0 ? 0 : static_cast<double>(report_.bytes_fetched) / fetch_seconds_ / 1e9;
    report_.memcpy_gbps = memcpy_.MedianGbps();
    report_.plan_us_p50 = plan_us_.Percentile(0.5);
    report_.plan_us_p99 = plan_us_.Percentile(0.99);
    report_.fetch_us_p50 = fetch_us_.Percentile(0.5);
    report_.fetch_us_p99 = fetch_us_.Percentile(0.99);
    return report_;
  }

 private:
  FetchResult PlanAndFetch() {
    const uint64_t failed_before = client_.stats().plan_failures;
    absl::Time start = absl::Now();
    absl::StatusOr<Plan> plan =
        client_.MakePlan(options_.model, tokens_, options_.policy, boundaries_);
    plan_us_.Add(MicrosecondsSince(start));
    if (!plan.ok()) {
      ++report_.failed_plans;
      KeepFirst(&report_.first_plan_error, plan.status());
      return {};
    }
    if (client_.stats().plan_failures != failed_before) {  // a plan without reuse, by its deadline
      ++report_.failed_plans;
      KeepFirst(&report_.first_plan_error, absl::DeadlineExceededError(absl::StrCat(
                                               "the node did not answer within the plan's ",
                                               absl::FormatDuration(options_.policy.deadline))));
    }
    const uint64_t planned = plan->stats().exact_tokens + plan->stats().content_tokens;
    if (planned == 0) return {};

    FetchOptions fetch_options;
    if (!options_.rotated) {
      fetch_options.pre_rope = cache_.pre_rope();
      fetch_options.pre_rope_stride = cache_.pre_rope_stride();
    }
    start = absl::Now();
    absl::StatusOr<FetchHandle> fetch =
        client_.Fetch(*std::move(plan), cache_.Destination(), fetch_options);
    absl::StatusOr<FetchResult> result = fetch.ok() ? fetch->Wait() : fetch.status();
    const double microseconds = MicrosecondsSince(start);
    if (!result.ok()) {
      ++report_.failed_fetches;
      KeepFirst(&report_.first_fetch_error, result.status());
      return {};
    }
    fetch_us_.Add(microseconds);
    fetch_seconds_ += microseconds / 1e6;
    report_.bytes_fetched += result->bytes_memory + result->bytes_disk;
    report_.bytes_from_disk += result->bytes_disk;
    report_.bytes_in_place += result->mapped_bytes;
    for (const TokenRange& range : result->missing)
      report_.missing_tokens += range.end - range.begin;
    return *std::move(result);
  }

  void Verify(const FetchResult& fetched) {
    for (const Span& span : fetched.delivered) {
      const uint32_t count = span.end - span.begin;
      if (span.kind == SpanKind::kExact) {
        report_.exact_tokens += count;
        report_.lossless_tokens += span.lossless ? count : 0;
      } else {
        report_.content_tokens += count;
      }
      if (span.source_position != span.begin) {
        const uint64_t far = span.source_position > span.begin ? span.source_position - span.begin
                                                               : span.begin - span.source_position;
        report_.moved_tokens += count;
        report_.moved_furthest = std::max(report_.moved_furthest, far);
      }
      const int64_t base =
          span.encoding == base::RotaryEncoding::kRotated && span.source_position != span.begin
              ? static_cast<int64_t>(span.source_position)
              : -1;
      report_.rows_verified += uint64_t{count} * options_.model.num_layers;
      report_.rows_mismatched += cache_.CountMismatches({span.begin, span.end}, base);
    }
  }

  void ComputeTheRest(const FetchResult& fetched) {
    uint32_t position = 0;
    const auto compute_to = [&](uint32_t end) {
      if (end <= position) return;
      cache_.Compute({position, end});
      report_.computed_tokens += end - position;
    };
    for (const Span& span : fetched.delivered) {
      compute_to(span.begin);
      position = std::max(position, span.end);
    }
    compute_to(static_cast<uint32_t>(tokens_.size()));
  }

  void Publish(const FetchResult& fetched) {
    const TokenRange all{0, static_cast<uint32_t>(tokens_.size())};
    absl::StatusOr<PublishReport> published = client_.Publish(
        options_.model, tokens_, fetched, all, cache_.Source(!options_.rotated), boundaries_);
    if (!published.ok()) {
      ++report_.failed_publishes;
      KeepFirst(&report_.first_publish_error, published.status());
      return;
    }
    report_.segments_published += published->segments;
    report_.segments_dropped += published->segments_dropped;
    report_.bytes_published += published->bytes;
  }

  Client& client_;
  const ReplayOptions& options_;
  WorkerCache cache_;
  ReuseBound bound_;
  MemcpyMeter memcpy_;
  ReplayReport report_;
  Samples plan_us_, fetch_us_;
  double fetch_seconds_ = 0;
  std::vector<base::TokenId> tokens_;
  std::vector<uint32_t> boundaries_;
};

}  // namespace

absl::StatusOr<ReplayReport> Replay(Client& client, const Trace& trace,
                                    const ReplayOptions& options) {
  CISTERN_RETURN_IF_ERROR(options.model.Validate());
  if (options.model.state.present()) {
    return absl::InvalidArgumentError("a model with recurrent layers: its states are wanted, too");
  }
  if (options.model.layout == base::RowLayout::kOpaque) {
    return absl::InvalidArgumentError(
        "replay makes rows whose meaning it knows; choose a model with an MLA row layout");
  }
  const uint32_t calls = CallsOf(trace, options.calls);
  if (calls == 0) return absl::InvalidArgumentError("the trace has no calls");
  Run run(client, options, LongestPrompt(trace, calls));
  const uint32_t between_rounds = std::max(1u, calls / kMemcpyRounds);
  uint32_t rounds = 0;
  for (uint32_t i = 0; i < calls; ++i) {
    run.One(trace.calls[i]);
    if (i % between_rounds == 0 && rounds++ < kMemcpyRounds) run.MemcpyRound();
    if (options.after_call) options.after_call(i + 1, calls);
  }
  while (rounds++ < kMemcpyRounds) run.MemcpyRound();
  ReplayReport report = run.Finish();
  report.workload = trace.name;
  report.model = options.model.name;
  report.layers = options.model.num_layers;
  return report;
}

uint64_t WorkingSetBytes(const Trace& trace, uint32_t calls, const base::ModelSpec& model) {
  ReuseBound bound;
  uint64_t fresh = 0;
  for (uint32_t i = 0; i < CallsOf(trace, calls); ++i) {
    const std::vector<base::TokenId> tokens = trace.calls[i].Tokens();
    fresh += tokens.size() - bound.Add(tokens);
  }
  return fresh * model.token_bytes();
}

}  // namespace cistern::tools
