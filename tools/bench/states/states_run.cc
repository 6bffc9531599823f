#include "tools/bench/states/states_run.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "tools/bench/samples.h"
#include "tools/bench/states/state_forms.h"
#include "tools/bench/states/states_work.h"

namespace cistern::tools {
namespace {

constexpr double kBound = 2e-6;  // of ours
// The other forms must be right, too, or they say nothing; token by token their roundings add up.
constexpr double kOtherBound = 1e-5;

template <typename Work>
double Seconds(const Work& work) {
  const absl::Time start = absl::Now();
  work();
  return absl::ToDoubleSeconds(absl::Now() - start);
}

// What memory allows, measured on the states themselves.
class MemoryLimits {
 public:
  MemoryLimits(StateRegion& states, uint64_t state_bytes)
      : from_(states.memory()), to_(states.memory().size()), state_bytes_(state_bytes) {}

  double ReadSeconds() const {
    uint64_t sum = 0;
    const double seconds = Seconds([&] { sum = ReadOnce({from_.data(), from_.size()}); });
    asm volatile("" : : "r"(sum));  // the pass is made
    return seconds;
  }
  // The faster of a memcpy of everything, which goes past the caches, and one of each state.
  double CopySeconds() {
    const double whole = Seconds([&] { std::memcpy(to_.data(), from_.data(), from_.size()); });
    const double pieces = Seconds([&] {
      for (uint64_t at = 0; at < from_.size(); at += state_bytes_) {
        std::memcpy(to_.data() + at, from_.data() + at, state_bytes_);
      }
    });
    return std::min(whole, pieces);
  }

 private:
  Memory& from_;
  Memory to_;
  const uint64_t state_bytes_;
};

double LimitSeconds(const StatesCase& c, MemoryLimits& limits) {
  if (c.kernel == StatesKernel::kFold) return limits.CopySeconds();
  const double reads = c.kernel == StatesKernel::kDecode ? c.tokens : 1;
  return reads * limits.ReadSeconds() + limits.CopySeconds();
}

// The float64 reference of one sequence.
class Reference {
 public:
  Reference(const StatesCase& c, const float* start, const TokenRegion& tokens, uint32_t sequence)
      : layer_(c.layer), shape_(c.layer.shape), num_tokens_(c.tokens) {
    state_.resize(shape_.state_floats());
    if (layer_.mamba1) {
      RunMamba1(start, tokens, sequence);
      return;
    }
    const size_t columns = size_t{shape_.num_heads} * shape_.value_dim;
    const kernels::FoldItem fold{.state_in = start,
                                 .state_out = state_.data(),
                                 .num_tokens = num_tokens_,
                                 .k = tokens.K(sequence, 0),
                                 .v = tokens.V(sequence, 0),
                                 .decay = tokens.Decay(sequence, 0),
                                 .weight = tokens.Weight(sequence, 0)};
    kernels::FoldRef({.shape = shape_, .items = {&fold, 1}});
    if (c.kernel == StatesKernel::kFold) return;
    std::vector<float> u(num_tokens_ * columns);
    answers_.resize(u.size());
    const kernels::DecodeItem decode{.state = start,
                                     .num_new = num_tokens_,
                                     .q = tokens.Q(sequence, 0),
                                     .k = fold.k,
                                     .v = fold.v,
                                     .decay = fold.decay,
                                     .weight = fold.weight,
                                     .u = u.data(),
                                     .u_token_stride = columns,
                                     .out = answers_.data(),
                                     .out_token_stride = columns};
    kernels::DecodeRef({.shape = shape_, .items = {&decode, 1}});
  }

  double Error(const float* state, const float* answers) const {
    const double error = RelativeL2({state, state_.size()}, state_);
    if (answers_.empty()) return error;
    return std::max(error, RelativeL2({answers, answers_.size()}, answers_));
  }

 private:
  void RunMamba1(const float* start, const TokenRegion& tokens, uint32_t sequence) {
    const kernels::Mamba1Item item{.state_in = start,
                                   .state_out = state_.data(),
                                   .num_tokens = num_tokens_,
                                   .x = tokens.V(sequence, 0),
                                   .dt = tokens.Weight(sequence, 0),
                                   .b = tokens.K(sequence, 0)};
    kernels::FoldMamba1Ref({.num_channels = shape_.value_dim,
                            .state_dim = shape_.key_dim,
                            .a = tokens.a(),
                            .items = {&item, 1}});
  }

  const StatesLayer& layer_;
  const kernels::RecurrenceShape shape_;
  const uint32_t num_tokens_;
  std::vector<float> state_, answers_;
};

absl::StatusOr<StatesLine> RunCase(const StatesCase& c, const StatesOptions& options) {
  const uint32_t sequences = SequencesOf(c, options.region_bytes);
  StateRegion start(c.layer.state_bytes(), sequences);
  FillStates(start, 1);
  const TokenRegion tokens(c.layer, c.tokens, sequences, 2);
  std::unique_ptr<StateForm> forms[3];
  for (const FormKind kind : {FormKind::kOurs, FormKind::kSteps, FormKind::kRing}) {
    forms[static_cast<int>(kind)] = MakeForm(kind, c, sequences, start, tokens);
    forms[static_cast<int>(kind)]->Run();  // warms up, and is what is checked
  }
  double worst[3] = {};
  for (const uint32_t sequence : std::set{sequences - 1, sequences - c.batch}) {
    const Reference reference(c, start.At(sequence), tokens, sequence);
    for (int f = 0; f < 3; ++f) {
      worst[f] = std::max(worst[f],
                          reference.Error(forms[f]->State(sequence), forms[f]->Answers(sequence)));
    }
  }
  if (!(worst[0] <= kBound && worst[1] <= kOtherBound && worst[2] <= kOtherBound)) {
    return absl::DataLossError(absl::StrFormat(
        "%s of %s, %d tokens: relative L2 %.1e (ours; at most %.0e), %.1e (steps), %.1e (ring; at "
        "most %.0e)",
        std::string(KernelName(c.kernel)), c.layer.model, c.tokens, worst[0], kBound, worst[1],
        worst[2], kOtherBound));
  }
  MemoryLimits limits(start, c.layer.state_bytes());
  Samples ours, limit, to_limit, over_steps, over_ring;
  for (uint32_t round = 0; round < options.rounds; ++round) {
    const double least = LimitSeconds(c, limits);
    double seconds[3];
    for (int f = 0; f < 3; ++f) seconds[f] = Seconds([&] { forms[f]->Run(); });
    ours.Add(seconds[0]);
    limit.Add(least);
    to_limit.Add(least / seconds[0]);
    over_steps.Add(seconds[1] / seconds[0]);
    over_ring.Add(seconds[2] / seconds[0]);
  }
  const double passes = c.kernel == StatesKernel::kDecode ? c.tokens : 1;
  const double gigabytes = passes * static_cast<double>(start.memory().size()) / 1e9;
  return StatesLine{.kernel = std::string(KernelName(c.kernel)),
                    .model = c.layer.model,
                    .family = c.layer.family,
                    .shape = c.layer.ShapeText(),
                    .batch = c.batch,
                    .tokens = c.tokens,
                    .rounds = options.rounds,
                    .gbps = gigabytes / ours.Median(),
                    .limit_gbps = gigabytes / limit.Median(),
                    .ratio_to_limit = to_limit.Median(),
                    .speedup_over_steps = over_steps.Median(),
                    .speedup_over_ring16 = over_ring.Median(),
                    .max_rel_l2 = worst[0]};
}

}  // namespace

absl::Status RunStates(const std::vector<StatesCase>& cases, const StatesOptions& options,
                       const std::function<void(const StatesLine&)>& print) {
  for (const StatesCase& c : cases) {
    CISTERN_ASSIGN_OR_RETURN(const StatesLine line, RunCase(c, options));
    print(line);
  }
  return absl::OkStatus();
}

}  // namespace cistern::tools
