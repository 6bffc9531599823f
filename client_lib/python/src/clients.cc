// Nodes, clients, plans.
#include <algorithm>

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "cacheserver/embedded.h"
#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

std::shared_ptr<Client> PyClient::get() const {
  if (client == nullptr) Raise(absl::FailedPreconditionError("this client is closed"));
  return client;
}

const Plan& PyPlan::get() const {
  if (plan == nullptr) Raise(absl::FailedPreconditionError("a fetch has used this plan up"));
  return *plan;
}

absl::Duration Seconds(double seconds, const char* name) {
  constexpr double kYear = 366.0 * 24 * 3600;
  if (!(seconds > 0)) {  // nan is not, either
    Raise(absl::InvalidArgumentError(
        absl::StrCat(name, " is ", seconds, ": a positive number of seconds is wanted")));
  }
  return absl::Seconds(std::min(seconds, kYear));
}

namespace {

using cacheserver::EmbeddedNode;

struct PyNode {
  std::shared_ptr<EmbeddedNode> node;  // null: stopped
};

struct Terms {
  std::string name, salt;
  double connect_timeout, call_deadline, publish_deadline;
  bool want_mapping;
  std::string arithmetic;
  double prefill_tokens_per_second;
  uint64_t max_staging_bytes;
  uint32_t fetch_threads;
};

base::RotaryArithmetic ArithmeticOf(const std::string& name) {
  for (const auto one : {base::RotaryArithmetic::kFp32Table, base::RotaryArithmetic::kBf16Table,
                         base::RotaryArithmetic::kBf16PerOp}) {
    if (base::ToString(one) == name) return one;
  }
  Raise(absl::InvalidArgumentError(
      absl::StrCat("unknown arithmetic '", name, "'; there are ",
                   base::ToString(base::RotaryArithmetic::kFp32Table), ", ",
                   base::ToString(base::RotaryArithmetic::kBf16Table), " and ",
                   base::ToString(base::RotaryArithmetic::kBf16PerOp))));
}

ClientOptions OptionsOf(const Terms& terms) {
  ClientOptions options;
  options.name = terms.name;
  options.salt = terms.salt;
  options.connect_timeout = Seconds(terms.connect_timeout, "connect_timeout");
  options.call_deadline = Seconds(terms.call_deadline, "call_deadline");
  options.publish_deadline = Seconds(terms.publish_deadline, "publish_deadline");
  options.want_mapping = terms.want_mapping;
  if (!(terms.prefill_tokens_per_second >= 0)) {
    Raise(absl::InvalidArgumentError("prefill_tokens_per_second is neither 0 nor positive"));
  }
  options.arithmetic = ArithmeticOf(terms.arithmetic);
  options.cost.prefill_tokens_per_second = terms.prefill_tokens_per_second;
  options.max_staging_bytes = terms.max_staging_bytes;
  options.fetch_threads = terms.fetch_threads;
  return options;
}

Terms TermsOf(const std::string& name, nb::bytes salt, double connect_timeout, double call_deadline,
              double publish_deadline, bool want_mapping, const std::string& arithmetic,
              double prefill_tokens_per_second, uint64_t max_staging_bytes,
              uint32_t fetch_threads) {
  return {name,
          std::string(salt.c_str(), salt.size()),
          connect_timeout,
          call_deadline,
          publish_deadline,
          want_mapping,
          arithmetic,
          prefill_tokens_per_second,
          max_staging_bytes,
          fetch_threads};
}

PyClient Connect(const std::string& address, const Terms& terms) {
  ClientOptions options = OptionsOf(terms);
  options.address = address;
  auto client = Unlocked([&] { return Client::Connect(options); });
  return {SharedWithoutGil(Take(std::move(client)))};
}

PyClient ConnectTo(PyNode& node, const Terms& terms) {
  if (node.node == nullptr) Raise(absl::FailedPreconditionError("this node is stopped"));
  const ClientOptions options = OptionsOf(terms);
  const std::shared_ptr<EmbeddedNode> to = node.node;
  auto link = Take(to->Connect({.client_name = options.name,
                                .connect_timeout = options.connect_timeout,
                                .want_mapping = options.want_mapping}));
  return {SharedWithoutGil(Take(Client::Over(std::move(link), options)))};
}

Reuse ReuseOf(const std::string& name) {
  if (name == "none") return Reuse::kNone;
  if (name == "exact") return Reuse::kExact;
  if (name == "content") return Reuse::kContent;
  Raise(absl::InvalidArgumentError(
      absl::StrCat("unknown reuse '", name, "'; there are none, exact and content")));
}

PyPlan MakePlan(const PyClient& client, const PyModel& model, nb::handle tokens, nb::handle parts,
                const std::string& reuse, uint32_t recompute_head, uint32_t sink_tokens,
                uint32_t min_span_tokens, bool partial_segments, bool compute_last_token,
                double deadline) {
  const Numbers ids(tokens, "tokens"), boundaries(parts, "parts");
  PlanPolicy policy;
  policy.reuse = ReuseOf(reuse);
  policy.recompute_head = recompute_head;
  policy.sink_tokens = sink_tokens;
  policy.min_span_tokens = min_span_tokens;
  policy.partial_segments = partial_segments;
  policy.compute_last_token = compute_last_token;
  policy.deadline = Seconds(deadline, "deadline");
  const std::shared_ptr<Client> to = client.get();
  auto plan =
      Unlocked([&] { return to->MakePlan(model.spec, ids.get(), policy, boundaries.get()); });
  return {to, std::make_shared<const base::ModelSpec>(model.spec),
          SharedWithoutGil(std::make_unique<Plan>(Take(std::move(plan))))};
}

const char* KindOf(const Span& span) {
  switch (span.kind) {
    case SpanKind::kExact:
      return "exact";
    case SpanKind::kContent:
      return "content";
    case SpanKind::kCompute:
      break;
  }
  return "compute";
}

nb::dict StatsOf(const PyClient& client) {
  const ClientStats stats = client.get()->stats();
  nb::dict out;
  out["plans"] = stats.plans;
  out["plan_failures"] = stats.plan_failures;
  out["fetches"] = stats.fetches;
  out["fetch_failures"] = stats.fetch_failures;
  out["publishes"] = stats.publishes;
  out["publish_failures"] = stats.publish_failures;
  out["token_mismatches"] = stats.token_mismatches;
  out["stale_reads"] = stats.stale_reads;
  out["checksum_failures"] = stats.checksum_failures;
  out["device_errors"] = stats.device_errors;
  out["reconnects"] = stats.reconnects;
  out["refused_slow"] = stats.refused_slow;
  return out;
}

std::string TextOfPlan(const PyPlan& self) {
  if (self.plan == nullptr) return "<cistern.Plan, used up>";
  const PlanStats& stats = self.plan->stats();
  return absl::StrCat("<cistern.Plan of ", self.plan->num_tokens(), " tokens: ", stats.exact_tokens,
                      " exact, ", stats.content_tokens, " by content, ", stats.compute_tokens,
                      " to compute", stats.timed_out ? "; the node did not answer in time>" : ">");
}

// Calls under way end as they would.
void Close(PyClient& client) { client.client.reset(); }

void Stop(PyNode& node) { node.node.reset(); }

void BindSpans(nb::module_& module) {
  nb::class_<Span>(module, "Span",
                   "Tokens [begin, end) of a prompt, and where their rows come from.")
      .def_ro("begin", &Span::begin)
      .def_ro("end", &Span::end)
      .def_prop_ro("kind", KindOf, "'exact', 'content' or 'compute'.")
      .def_ro("lossless", &Span::lossless, "Nothing in its past was reused by content.")
      .def_ro("on_disk", &Span::on_disk)
      .def_ro("native", &Span::native, "The bytes are what this worker would have computed.")
      .def_ro("pre_rope", &Span::pre_rope, "k_r before RoPE was delivered beside it.")
      .def_ro("source_position", &Span::source_position,
              "Where the row that goes to `begin` was computed.")
      .def("__repr__", [](const Span& span) {
        return absl::StrCat("<cistern.Span [", span.begin, ", ", span.end, ") ", KindOf(span), ">");
      });
  nb::class_<Resume>(module, "Resume", "Where a hybrid model goes on.")
      .def_ro("position", &Resume::position, "0: from the beginning, with zero state.")
      .def_ro("checkpoint_position", &Resume::checkpoint_position)
      .def_ro("folded_tokens", &Resume::folded_tokens)
      .def_ro("checkpoint_bytes", &Resume::checkpoint_bytes)
      .def_ro("log_bytes", &Resume::log_bytes)
      .def_ro("on_disk", &Resume::on_disk)
      .def("__repr__", [](const Resume& resume) {
        return absl::StrCat("<cistern.Resume at token ", resume.position, ": checkpoint at ",
                            resume.checkpoint_position, ", ", resume.folded_tokens,
                            " tokens folded>");
      });
  nb::class_<PyPlan>(module, "Plan",
                     "Spans in order, without gaps. Holds leases until it is fetched or dropped.")
      .def_prop_ro("spans", [](const PyPlan& plan) { return plan.get().spans(); })
      .def_prop_ro("num_tokens", [](const PyPlan& plan) { return plan.get().num_tokens(); })
      .def_prop_ro("exact_tokens",
                   [](const PyPlan& plan) { return plan.get().stats().exact_tokens; })
      .def_prop_ro("content_tokens",
                   [](const PyPlan& plan) { return plan.get().stats().content_tokens; })
      .def_prop_ro("compute_tokens",
                   [](const PyPlan& plan) { return plan.get().stats().compute_tokens; })
      .def_prop_ro(
          "timed_out", [](const PyPlan& plan) { return plan.get().stats().timed_out; },
          "The node did not answer within the deadline: all is computed, whatever it has.")
      .def_prop_ro("resume", [](const PyPlan& plan) { return plan.get().resume(); })
      .def_prop_ro(
          "wanted_states", [](const PyPlan& plan) { return plan.get().wanted_states(); },
          "Positions where a state would serve later prompts.")
      .def(
          "close", [](PyPlan& plan) { plan.plan.reset(); }, "Gives its leases back.")
      .def("__repr__", TextOfPlan);
}

}  // namespace

void BindClients(nb::module_& module) {
  BindSpans(module);
  nb::class_<Terms>(module, "Terms")
      .def("__init__",
           [](Terms* self, const std::string& name, nb::bytes salt, double connect_timeout,
              double call_deadline, double publish_deadline, bool want_mapping,
              const std::string& arithmetic, double prefill_tokens_per_second,
              uint64_t max_staging_bytes, uint32_t fetch_threads) {
             new (self) Terms(TermsOf(name, std::move(salt), connect_timeout, call_deadline,
                                      publish_deadline, want_mapping, arithmetic,
                                      prefill_tokens_per_second, max_staging_bytes, fetch_threads));
           });
  nb::class_<PyNode>(module, "Node")
      .def(
          "__init__",
          [](PyNode* self, const std::string& config) {
            cacheserver::NodeConfig in = cacheserver::EmbeddedConfig();
            if (!config.empty()) Check(cacheserver::ApplyConfigText(in, config, "config"));
            auto node = Unlocked([&] { return EmbeddedNode::Start(in); });
            new (self) PyNode{SharedWithoutGil(Take(std::move(node)))};
          },
          "config"_a = "")
      .def("connect", ConnectTo, "terms"_a)
      .def("stop", Stop);
  nb::class_<PyClient>(module, "Client")
      .def("plan", MakePlan, "model"_a, "tokens"_a, "parts"_a.none(), "reuse"_a, "recompute_head"_a,
           "sink_tokens"_a, "min_span_tokens"_a, "partial_segments"_a, "compute_last_token"_a,
           "deadline"_a)
      .def("stats", StatsOf)
      .def_prop_ro("closed", [](const PyClient& self) { return self.client == nullptr; })
      .def("close", Close);
  module.def("connect", Connect, "address"_a, "terms"_a);
}

}  // namespace cistern::python
