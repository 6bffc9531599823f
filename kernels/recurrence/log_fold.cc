#include "kernels/recurrence/log_fold.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "kernels/bf16.h"
#include "kernels/recurrence/fold.h"
#include "kernels/recurrence/mamba1.h"

namespace cistern::kernels {
namespace {

using base::StateFamily;
using base::StateSpec;
using base::StateType;

constexpr uint32_t kCopyTokens = 16;  // whose float32 fields are copied at a time

size_t StateFloats(const StateSpec& spec) {
  return size_t{spec.num_heads} * spec.value_dim * spec.key_dim;
}

// In one token: floats of the inputs that are float32, which are the last ones.
size_t NumberFloats(const StateSpec& spec) {
  const size_t a_head = spec.num_heads, a_channel = a_head * spec.key_dim;
  switch (spec.family) {
    case StateFamily::kMamba2:
      return a_head;
    case StateFamily::kGatedLinear:
      return a_channel;
    case StateFamily::kGatedDelta:
      return 2 * a_head;
    case StateFamily::kKda:
      return a_channel + a_head;
    default:
      return 0;
  }
}

RecurrenceShape ShapeOf(const StateSpec& spec) {
  RecurrenceShape shape{Recurrence::kScalarDecay, spec.num_heads, spec.num_key_heads, spec.key_dim,
                        spec.value_dim};
  if (spec.family == StateFamily::kGatedLinear) shape.recurrence = Recurrence::kDiagonalDecay;
  if (spec.family == StateFamily::kGatedDelta) shape.recurrence = Recurrence::kGatedDelta;
  if (spec.family == StateFamily::kKda) shape.recurrence = Recurrence::kKda;
  return shape;
}

// What the fold itself needs.
size_t KernelFloats(const StateSpec& spec) {
  return spec.family == StateFamily::kMamba1 ? Mamba1ScratchFloats(spec.key_dim)
                                             : FoldScratchFloats(ShapeOf(spec));
}

// The fields of a run of tokens.
struct Fields {
  const std::byte* halves = nullptr;  // the bf16 fields
  size_t token_halves = 0;            // from one token's to the next's, in elements
  const float* numbers = nullptr;     // the float32 fields
  size_t token_floats = 0;

  TokenArray Halves(size_t at, size_t head_stride) const {
    return {halves + 2 * at, ElementType::kBf16, token_halves, head_stride};
  }
  TokenArray Numbers(size_t at, size_t head_stride) const {
    return {numbers + at, ElementType::kFloat32, token_floats, head_stride};
  }
};

Mamba1Item ItemOfMamba1(const StateSpec& spec, const Fields& fields) {
  return {.x = fields.Halves(0, 0),
          .dt = fields.Halves(spec.value_dim, 0),
          .b = fields.Halves(size_t{2} * spec.value_dim, 0)};
}

FoldItem ItemOf(const StateSpec& spec, const Fields& fields, const float* decay) {
  const size_t keys = size_t{spec.num_key_heads} * spec.key_dim;
  const size_t values = size_t{spec.num_heads} * spec.value_dim;
  const bool values_first = spec.family == StateFamily::kMamba2;
  FoldItem item{.k = fields.Halves(values_first ? values : 0, spec.key_dim),
                .v = fields.Halves(values_first ? 0 : keys, spec.value_dim)};
  switch (spec.family) {
    case StateFamily::kMamba2:
      item.decay = {fields.Numbers(0, 1), decay};
      item.weight = fields.Numbers(0, 1);
      break;
    case StateFamily::kGatedLinear:
      item.decay = {fields.Numbers(0, spec.key_dim)};
      break;
    case StateFamily::kGatedDelta:
      item.decay = {fields.Numbers(0, 1)};
      item.weight = fields.Numbers(spec.num_heads, 1);
      break;
    case StateFamily::kKda:
      item.decay = {fields.Numbers(0, spec.key_dim)};
      item.weight = fields.Numbers(size_t{spec.num_heads} * spec.key_dim, 1);
      break;
    default:  // lightning
      item.decay = {{decay, ElementType::kFloat32, 0, 1}};
  }
  return item;
}

// Which form of the fold: (in, out, tokens, fields).
class Folder {
 public:
  Folder(const LogFoldParams& params, bool reference)
      : params_(params), shape_(ShapeOf(params.spec)), reference_(reference) {}

  void Fold(const float* in, float* out, uint32_t num_tokens, const Fields& fields) const {
    const std::span<float> scratch = params_.scratch.first(KernelFloats(params_.spec));
    if (params_.spec.family == StateFamily::kMamba1) {
      Mamba1Item item = ItemOfMamba1(params_.spec, fields);
      item.state_in = in, item.state_out = out, item.num_tokens = num_tokens;
      const Mamba1Params fold{
          params_.spec.value_dim, params_.spec.key_dim, params_.decay, {&item, 1}, scratch};
      reference_ ? FoldMamba1Ref(fold) : FoldMamba1Cpu(fold);
      return;
    }
    FoldItem item = ItemOf(params_.spec, fields, params_.decay);
    item.state_in = in, item.state_out = out, item.num_tokens = num_tokens;
    const FoldParams fold{shape_, {&item, 1}, scratch};
    reference_ ? FoldRef(fold) : FoldCpu(fold);
  }

  // All tokens.
  void FoldAll(const float* in, float* out, std::span<float> copies) const {
    const size_t floats = NumberFloats(params_.spec), stride = params_.token_stride;
    const size_t first_float = params_.spec.input_bytes() - 4 * floats;
    const std::byte* const numbers = params_.log + first_float;
    Fields fields{.halves = params_.log, .token_halves = stride / 2};
    if (floats == 0 || (reinterpret_cast<uintptr_t>(numbers) % 4 == 0 && stride % 4 == 0)) {
      fields.numbers = reinterpret_cast<const float*>(numbers);
      fields.token_floats = stride / 4;
      Fold(in, out, params_.num_tokens, fields);
      return;
    }
    fields.numbers = copies.data();
    fields.token_floats = floats;
    for (uint32_t first = 0; first < params_.num_tokens; first += kCopyTokens) {
      const uint32_t count = std::min(kCopyTokens, params_.num_tokens - first);
      for (uint32_t t = 0; t < count; ++t) {
        std::memcpy(copies.data() + t * floats, numbers + (first + t) * stride, 4 * floats);
      }
      fields.halves = params_.log + first * stride;
      Fold(in, out, count, fields);
      in = out;
    }
  }

 private:
  const LogFoldParams& params_;
  const RecurrenceShape shape_;
  const bool reference_;
};

void FoldWith(const LogFoldParams& params, bool reference) {
  const StateSpec& spec = params.spec;
  const size_t state_bytes = spec.temporal_bytes();
  if (params.num_tokens == 0) {
    if (params.state_in == nullptr) {
      std::memset(params.state_out, 0, state_bytes);
    } else if (params.state_in != params.state_out) {
      std::memcpy(params.state_out, params.state_in, state_bytes);
    }
    return;
  }
  const Folder folder(params, reference);
  const std::span<float> rest = params.scratch.subspan(KernelFloats(spec));
  const std::span<float> copies = rest.first(kCopyTokens * NumberFloats(spec));
  if (spec.temporal_type == StateType::kFloat32) {
    folder.FoldAll(reinterpret_cast<const float*>(params.state_in),
                   reinterpret_cast<float*>(params.state_out), copies);
    return;
  }
  const std::span<float> state = rest.subspan(copies.size(), StateFloats(spec));
  const auto* const in = reinterpret_cast<const uint16_t*>(params.state_in);
  auto* const out = reinterpret_cast<uint16_t*>(params.state_out);
  if (in != nullptr) std::transform(in, in + state.size(), state.begin(), Bf16ToFloat);
  folder.FoldAll(in == nullptr ? nullptr : state.data(), state.data(), copies);
  std::transform(state.begin(), state.end(), out, FloatToBf16);
}

template <typename... Parts>
absl::Status Refuse(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("log fold: ", parts...));
}

// That the family's kernel takes these sizes.
absl::Status ValidateSizes(const StateSpec& spec) {
  if (spec.family != StateFamily::kMamba1) return ValidateShape(ShapeOf(spec));
  if (spec.num_heads != 1 || spec.num_key_heads != 1 || spec.key_dim > Mamba1Params::kMaxStateDim) {
    return Refuse("mamba1 has ", spec.num_heads, " heads over ", spec.num_key_heads,
                  " and d_state ", spec.key_dim, "; it must be 1, 1 and at most ",
                  Mamba1Params::kMaxStateDim);
  }
  return absl::OkStatus();
}

absl::Status ValidateStates(const LogFoldParams& params) {
  const std::byte* const in = params.state_in;
  const std::byte* const out = params.state_out;
  if (out == nullptr) return Refuse("state_out is null");
  const size_t element = params.spec.temporal_type == StateType::kBf16 ? 2 : 4;
  if (reinterpret_cast<uintptr_t>(in) % element != 0 ||
      reinterpret_cast<uintptr_t>(out) % element != 0) {
    return Refuse("state_in or state_out is not aligned to its elements");
  }
  const size_t bytes = params.spec.temporal_bytes();
  if (in != nullptr && in != out && in < out + bytes && out < in + bytes) {
    return Refuse("state_in and state_out overlap");
  }
  return absl::OkStatus();
}

absl::Status ValidateLog(const LogFoldParams& params) {
  if (params.log == nullptr) return Refuse("log is null");
  if (params.token_stride < params.spec.input_bytes()) {
    return Refuse("token_stride is ", params.token_stride, "; the inputs of a token take ",
                  params.spec.input_bytes(), " bytes");
  }
  if (reinterpret_cast<uintptr_t>(params.log) % 2 != 0 || params.token_stride % 2 != 0) {
    return Refuse("log or token_stride is not a multiple of 2 bytes");
  }
  return absl::OkStatus();
}

}  // namespace

size_t LogFoldScratchFloats(const StateSpec& spec) {
  return KernelFloats(spec) + kCopyTokens * NumberFloats(spec) +
         (spec.temporal_type == StateType::kBf16 ? StateFloats(spec) : 0);
}

absl::Status ValidateLogFold(const LogFoldParams& params) {
  const StateSpec& spec = params.spec;
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  if (!spec.present()) return Refuse("the model has no recurrent layers");
  CISTERN_RETURN_IF_ERROR(ValidateSizes(spec));
  const bool constants = spec.family == StateFamily::kMamba1 ||
                         spec.family == StateFamily::kMamba2 ||
                         spec.family == StateFamily::kLightning;
  if (constants != (params.decay != nullptr)) {
    return Refuse("decay is ", constants ? "null" : "given", "; ", ToString(spec.family),
                  constants ? " has constants of the model" : " has its decays in the log");
  }
  if (params.scratch.size() < LogFoldScratchFloats(spec)) {
    return Refuse("scratch of ", params.scratch.size(), " floats, this spec needs ",
                  LogFoldScratchFloats(spec));
  }
  CISTERN_RETURN_IF_ERROR(ValidateStates(params));
  return params.num_tokens == 0 ? absl::OkStatus() : ValidateLog(params);
}

absl::Status FoldLog(const LogFoldParams& params) {
  CISTERN_RETURN_IF_ERROR(ValidateLogFold(params));
  FoldLogCpu(params);
  return absl::OkStatus();
}

void FoldLogRef(const LogFoldParams& params) { FoldWith(params, true); }
void FoldLogCpu(const LogFoldParams& params) { FoldWith(params, false); }

}  // namespace cistern::kernels
