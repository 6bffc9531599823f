#include "tools/bench/states/state_forms.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "tools/bench/states/published_forms.h"

namespace cistern::tools {
namespace {

using kernels::CommitItem;
using kernels::DecodeItem;
using kernels::FoldItem;
using kernels::RecurrenceShape;

// The cases are ours: a kernel that refuses one is a mistake of this file.
void Check(const absl::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::abort();
  }
}

size_t RowFloats(const RecurrenceShape& shape) { return size_t{shape.num_heads} * shape.value_dim; }

// The same tokens for the step by step form; where its states go is left to say.
template <typename Item>
StepItem StepOf(const Item& item, uint32_t num_tokens) {
  return {.num_tokens = num_tokens,
          .k = item.k,
          .v = item.v,
          .decay = item.decay,
          .weight = item.weight};
}

class FormBase : public StateForm {
 public:
  FormBase(FormKind kind, const StatesCase& c, uint32_t sequences, StateRegion& start,
           const TokenRegion& tokens)
      : kind_(kind),
        case_(c),
        shape_(c.layer.shape),
        sequences_(sequences),
        start_(start),
        tokens_(tokens),
        state_(c.layer.state_bytes(), sequences),
        scratch_(std::max({kernels::FoldScratchFloats(shape_), kernels::DecodeScratchFloats(shape_),
                           StepScratchFloats(shape_), RingScratchFloats(shape_)})) {}

  const float* State(uint32_t sequence) override { return state_.At(sequence); }
  const float* Answers(uint32_t) override { return nullptr; }

 protected:
  const FormKind kind_;
  const StatesCase case_;
  const RecurrenceShape shape_;
  const uint32_t sequences_;
  StateRegion& start_;
  const TokenRegion& tokens_;
  StateRegion state_;
  std::vector<float> scratch_;
};

class FoldForm : public FormBase {
 public:
  FoldForm(FormKind kind, const StatesCase& c, uint32_t sequences, StateRegion& start,
           const TokenRegion& tokens)
      : FormBase(kind, c, sequences, start, tokens), u_(c.tokens * RowFloats(shape_)) {}

  void Run() override {
    for (uint32_t first = 0; first < sequences_; first += case_.batch) {
      items_.clear();
      steps_.clear();
      for (uint32_t s = first; s < first + case_.batch; ++s) {
        items_.push_back({.state_in = start_.At(s),
                          .state_out = state_.At(s),
                          .num_tokens = case_.tokens,
                          .k = tokens_.K(s, 0),
                          .v = tokens_.V(s, 0),
                          .decay = tokens_.Decay(s, 0),
                          .weight = tokens_.Weight(s, 0)});
        steps_.push_back(StepOf(items_.back(), case_.tokens));
        steps_.back().state_in = items_.back().state_in;
        steps_.back().state_out = items_.back().state_out;
      }
      if (kind_ == FormKind::kOurs) {
        Check(kernels::Fold({.shape = shape_, .items = items_, .scratch = scratch_}));
      } else if (kind_ == FormKind::kSteps) {
        RunSteps(shape_, steps_, scratch_);
      } else {
        FoldThroughRing(shape_, items_, u_.data(), scratch_);
      }
    }
  }

 private:
  std::vector<FoldItem> items_;
  std::vector<StepItem> steps_;
  std::vector<float> u_;
};

// Mamba-1's steps are its own kernel on one token at a time, its ring the kernel on 16: the state
// of a layer lies in L2 between two calls.
class Mamba1Form : public FormBase {
 public:
  Mamba1Form(FormKind kind, const StatesCase& c, uint32_t sequences, StateRegion& start,
             const TokenRegion& tokens)
      : FormBase(kind, c, sequences, start, tokens),
        at_once_(kind == FormKind::kOurs    ? c.tokens
                 : kind == FormKind::kSteps ? 1
                                            : kRingTokens) {
    scratch_.resize(kernels::Mamba1ScratchFloats(shape_.key_dim));
  }

  void Run() override {
    for (uint32_t s = 0; s < sequences_; ++s) {
      const float* in = start_.At(s);
      for (uint32_t t = 0; t < case_.tokens; t += at_once_) {
        const kernels::Mamba1Item item{.state_in = in,
                                       .state_out = state_.At(s),
                                       .num_tokens = std::min(at_once_, case_.tokens - t),
                                       .x = tokens_.V(s, t),
                                       .dt = tokens_.Weight(s, t),
                                       .b = tokens_.K(s, t)};
        Check(kernels::FoldMamba1({.num_channels = shape_.value_dim,
                                   .state_dim = shape_.key_dim,
                                   .a = tokens_.a(),
                                   .items = {&item, 1},
                                   .scratch = scratch_}));
        in = state_.At(s);
      }
    }
  }

 private:
  const uint32_t at_once_;
};

// Deferred decode of a whole buffer and its flush, or a draft and its commit.
class AnswerForm : public FormBase {
 public:
  AnswerForm(FormKind kind, const StatesCase& c, uint32_t sequences, StateRegion& start,
             const TokenRegion& tokens)
      : FormBase(kind, c, sequences, start, tokens),
        row_(RowFloats(shape_)),
        at_once_(c.kernel == StatesKernel::kVerify ? c.tokens : 1),
        u_(size_t{sequences} * c.tokens * row_),
        out_(size_t{sequences} * c.tokens * row_) {
    std::memcpy(state_.memory().data(), start.memory().data(), state_.memory().size());
    if (kind == FormKind::kSteps && c.kernel == StatesKernel::kVerify) {
      kept_ = std::make_unique<Memory>(c.layer.state_bytes() * c.batch * c.tokens);
    }
  }

  void Run() override {
    const uint32_t capacity = kind_ == FormKind::kRing ? kRingTokens : case_.tokens;
    uint32_t flushed = 0;
    for (uint32_t t = 0; t < case_.tokens; t += at_once_) {
      for (uint32_t first = 0; first < sequences_; first += case_.batch) {
        kind_ == FormKind::kSteps ? Step(first, t) : Answer(first, flushed, t);
      }
      const uint32_t done = t + at_once_;
      if (kind_ == FormKind::kSteps || (done - flushed < capacity && done < case_.tokens)) continue;
      for (uint32_t first = 0; first < sequences_; first += case_.batch) {
        Flush(first, flushed, done);
      }
      flushed = done;
    }
  }

  // A step by step verify leaves its last state among those that it kept, of the last batch.
  const float* State(uint32_t sequence) override {
    if (kept_ == nullptr) return FormBase::State(sequence);
    return Kept(sequence) + (case_.tokens - 1) * shape_.state_floats();
  }
  const float* Answers(uint32_t sequence) override {
    return out_.data() + size_t{sequence} * case_.tokens * row_;
  }

 private:
  float* Kept(uint32_t sequence) {
    if (kept_ == nullptr) return nullptr;
    return reinterpret_cast<float*>(kept_->data()) +
           size_t{sequence % case_.batch} * case_.tokens * shape_.state_floats();
  }
  float* U(uint32_t s, uint32_t t) { return u_.data() + (size_t{s} * case_.tokens + t) * row_; }
  float* Out(uint32_t s, uint32_t t) { return out_.data() + (size_t{s} * case_.tokens + t) * row_; }

  // Tokens from `t` on are new, behind those since `flushed`.
  DecodeItem Item(uint32_t s, uint32_t flushed, uint32_t t) {
    return {.state = state_.At(s),
            .num_buffered = t - flushed,
            .num_new = at_once_,
            .q = tokens_.Q(s, t),
            .k = tokens_.K(s, flushed),
            .v = tokens_.V(s, t),
            .decay = tokens_.Decay(s, flushed),
            .weight = tokens_.Weight(s, t),
            .u = U(s, flushed),
            .u_token_stride = row_,
            .out = Out(s, t),
            .out_token_stride = row_};
  }

  void Step(uint32_t first, uint32_t t) {
    steps_.clear();
    for (uint32_t s = first; s < first + case_.batch; ++s) {
      const DecodeItem item = Item(s, t, t);
      StepItem& step = steps_.emplace_back(StepOf(item, at_once_));
      step.q = item.q;
      step.out = item.out;
      step.state_in = item.state;
      step.state_out = kept_ == nullptr ? state_.At(s) : nullptr;
      step.kept = Kept(s);
    }
    RunSteps(shape_, steps_, scratch_);
  }
  void Answer(uint32_t first, uint32_t flushed, uint32_t t) {
    items_.clear();
    for (uint32_t s = first; s < first + case_.batch; ++s) items_.push_back(Item(s, flushed, t));
    if (kind_ == FormKind::kOurs) {
      Check(kernels::Decode({.shape = shape_, .items = items_, .scratch = scratch_}));
    } else {
      RunRing(shape_, items_, scratch_);
    }
  }
  void Flush(uint32_t first, uint32_t from, uint32_t to) {
    commits_.clear();
    for (uint32_t s = first; s < first + case_.batch; ++s) {
      const DecodeItem item = Item(s, from, from);
      commits_.push_back({.state = state_.At(s),
                          .num_tokens = to - from,
                          .k = item.k,
                          .decay = item.decay,
                          .u = item.u,
                          .u_token_stride = row_});
    }
    Check(kernels::Commit({.shape = shape_, .items = commits_, .scratch = scratch_}));
  }

  const size_t row_;
  const uint32_t at_once_;
  std::vector<float> u_, out_;
  std::unique_ptr<Memory> kept_;  // of one batch: [batch, drafts, state]
  std::vector<StepItem> steps_;
  std::vector<DecodeItem> items_;
  std::vector<CommitItem> commits_;
};

}  // namespace

std::unique_ptr<StateForm> MakeForm(FormKind kind, const StatesCase& c, uint32_t sequences,
                                    StateRegion& start, const TokenRegion& tokens) {
  if (c.layer.mamba1) return std::make_unique<Mamba1Form>(kind, c, sequences, start, tokens);
  if (c.kernel == StatesKernel::kFold)
    return std::make_unique<FoldForm>(kind, c, sequences, start, tokens);
  return std::make_unique<AnswerForm>(kind, c, sequences, start, tokens);
}

}  // namespace cistern::tools
