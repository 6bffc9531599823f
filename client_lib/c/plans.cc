// Plans.
#include "base/status_macros.h"
#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

cistern_plan_policy PolicyDefaults() {
  const PlanPolicy policy;
  cistern_plan_policy out{};
  out.struct_size = sizeof(out);
  out.reuse = static_cast<int32_t>(policy.reuse);
  out.recompute_head = policy.recompute_head;
  out.sink_tokens = policy.sink_tokens;
  out.min_span_tokens = policy.min_span_tokens;
  out.partial_segments = policy.partial_segments ? 1 : 0;
  out.compute_last_token = policy.compute_last_token ? 1 : 0;
  out.deadline_ms = ToMillis(policy.deadline);
  return out;
}

absl::Status ReadPolicy(const cistern_plan_policy* policy, PlanPolicy* to) {
  cistern_plan_policy in = PolicyDefaults();
  if (policy != nullptr) CISTERN_RETURN_IF_ERROR(TakeIn(policy, "policy", &in));
  if (in.reuse < CISTERN_REUSE_NONE || in.reuse > CISTERN_REUSE_CONTENT) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy.reuse is ", in.reuse, "; 0 to 2 are known"));
  }
  to->reuse = static_cast<Reuse>(in.reuse);
  to->recompute_head = in.recompute_head;
  to->sink_tokens = in.sink_tokens;
  to->min_span_tokens = in.min_span_tokens;
  to->partial_segments = in.partial_segments != 0;
  to->compute_last_token = in.compute_last_token != 0;
  to->deadline = Millis(in.deadline_ms);
  return absl::OkStatus();
}

}  // namespace
}  // namespace cistern::c

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

void cistern_plan_policy_init(cistern_plan_policy* policy, size_t struct_size) {
  Init(PolicyDefaults(), policy, struct_size);
}

int32_t cistern_make_plan(cistern_client* client, const cistern_model* model,
                          const cistern_prompt* prompt, const cistern_plan_policy* policy,
                          cistern_plan** plan, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    CISTERN_RETURN_IF_ERROR(Need(plan, "plan"));
    Prompt in;
    CISTERN_RETURN_IF_ERROR(ReadPrompt(prompt, &in));
    cistern::PlanPolicy wanted;
    CISTERN_RETURN_IF_ERROR(ReadPolicy(policy, &wanted));
    CISTERN_ASSIGN_OR_RETURN(auto made,
                             client->client->MakePlan(model->spec, in.tokens, wanted, in.parts));
    *plan = new cistern_plan{std::move(made), model->spec};
    return absl::OkStatus();
  });
}

void cistern_plan_free(cistern_plan* plan) { delete plan; }

size_t cistern_plan_spans(const cistern_plan* plan, cistern_span* spans, size_t capacity) {
  if (plan == nullptr || !plan->plan.has_value()) return 0;
  return CallOr(size_t{0}, [&] { return CopyOut(SpansOf(plan->plan->spans()), spans, capacity); });
}

int32_t cistern_plan_get_info(const cistern_plan* plan, cistern_plan_info* info,
                              cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(plan, "plan"));
    if (!plan->plan.has_value()) {
      return absl::FailedPreconditionError("a fetch has used this plan up");
    }
    const cistern::PlanStats& stats = plan->plan->stats();
    const cistern::Resume& resume = plan->plan->resume();
    cistern_plan_info out{};
    out.exact_tokens = stats.exact_tokens;
    out.lossless_tokens = stats.lossless_tokens;
    out.content_tokens = stats.content_tokens;
    out.compute_tokens = stats.compute_tokens;
    out.token_mismatches = stats.token_mismatches;
    out.resume_position = resume.position;
    out.checkpoint_position = resume.checkpoint_position;
    out.folded_tokens = resume.folded_tokens;
    out.checkpoint_bytes = resume.checkpoint_bytes;
    out.log_bytes = resume.log_bytes;
    return FillOut(out, "info", info);
  });
}

size_t cistern_plan_wanted_states(const cistern_plan* plan, uint32_t* positions, size_t capacity) {
  if (plan == nullptr || !plan->plan.has_value()) return 0;
  return CopyOut(plan->plan->wanted_states(), positions, capacity);
}
