#include "client_lib/src/state_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client_lib/src/check_layers.h"
#include "client_lib/src/resume.h"

namespace cistern::client {
namespace {

using base::ObjectHeader;
using base::ObjectKind;

absl::Status CheckField(absl::string_view name, const LogSource::Field& field, uint64_t bytes,
                        uint32_t layers) {
  CISTERN_RETURN_IF_ERROR(CheckLayers(name, field.layers, layers));
  if (field.token_stride >= bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, ".token_stride is ", field.token_stride,
                                                 "; a token has ", bytes, " bytes"));
}

absl::Status ValidateLog(const StatePlanInput& input) {
  const LogSource& log = input.source.log;
  const base::StateSpec& spec = input.model.spec().state;
  if (log.begin > log.end || log.end > input.prompt.tokens.size()) {
    return absl::InvalidArgumentError("log: [begin, end) does not lie within the tokens");
  }
  if (log.begin == log.end) return absl::OkStatus();
  return ValidateLogFields(spec, log, input.policy.tails == base::LogTails::kEveryToken);
}

absl::Status ValidatePoint(const StatePlanInput& input, const StatePoint& point, uint32_t before) {
  const base::StateSpec& spec = input.model.spec().state;
  if (point.position <= before || point.position > input.prompt.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("points: position ", point.position, " after ",
                                                   before, " of ", input.prompt.tokens.size(),
                                                   " tokens; positions ascend, from 1 on"));
  }
  if (!point.state.temporal.empty()) {
    CISTERN_RETURN_IF_ERROR(CheckLayers("points: temporal", point.state.temporal, spec.num_layers));
  }
  const bool tail = !point.state.temporal.empty() || input.policy.tails == base::LogTails::kEnd;
  if (spec.conv_width == 0 || !tail) return absl::OkStatus();
  return CheckLayers("points: conv", point.state.conv, spec.num_layers);
}

ObjectHeader StateHeader(const StatePlanInput& input, ObjectKind kind, uint32_t begin, uint32_t end,
                         const base::Key& parent) {
  ObjectHeader header;
  header.kind = kind;
  header.model = input.model.fingerprint();
  header.tenant = input.model.keys().tenant();
  header.context = ContextAt(input.prompt, input.model, end);
  header.parent_context = parent;
  header.content = base::StateKey(kind, header.context, parent);
  header.base_position = begin;
  const auto tokens = input.prompt.Tokens(begin, end);
  header.tokens.assign(tokens.begin(), tokens.end());
  return header;
}

}  // namespace

absl::Status ValidateLogFields(const base::StateSpec& spec, const LogSource& log, bool conv_rows) {
  const std::vector<uint64_t> widths = spec.field_bytes();
  if (log.fields.size() != widths.size()) {
    return absl::InvalidArgumentError(absl::StrCat("log.fields: ", log.fields.size(), "; ",
                                                   base::ToString(spec.family), " has ",
                                                   widths.size()));
  }
  for (size_t i = 0; i < widths.size(); ++i) {
    CISTERN_RETURN_IF_ERROR(
        CheckField(absl::StrCat("log.fields[", i, "]"), log.fields[i], widths[i], spec.num_layers));
  }
  if (!conv_rows || spec.conv_width == 0) return absl::OkStatus();
  return CheckField("log.conv_rows", log.conv_rows, spec.conv_row_bytes(), spec.num_layers);
}

uint32_t LongestChain(const base::StateSpec& spec, const StatePolicy& policy) {
  return policy.max_chain_tokens != 0 ? policy.max_chain_tokens : spec.BreakEvenTokens() / 4;
}

absl::Status ValidateStates(const StatePlanInput& input) {
  if (!input.model.spec().state.present()) {
    return absl::InvalidArgumentError("the model has no recurrent layers");
  }
  if (input.known_position > input.prompt.tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("fetched: stored_position is ",
                                                   input.known_position, " of ",
                                                   input.prompt.tokens.size(), " tokens"));
  }
  CISTERN_RETURN_IF_ERROR(ValidateLog(input));
  uint32_t before = 0;
  for (const StatePoint& point : input.source.points) {
    CISTERN_RETURN_IF_ERROR(ValidatePoint(input, point, before));
    before = point.position;
  }
  return absl::OkStatus();
}

PlannedPoint PlanPoint(const StatePlanInput& input, uint32_t index, uint32_t known,
                       uint32_t known_chain_tokens) {
  const base::StateSpec& spec = input.model.spec().state;
  const StatePoint& point = input.source.points[index];
  const LogSource& log = input.source.log;
  PlannedPoint planned;
  planned.point = index;
  planned.begin = known;
  planned.checkpoint = !point.state.temporal.empty();
  if (point.position <= known) return planned;
  const uint32_t tokens = point.position - known;
  const uint32_t chain = known_chain_tokens + tokens;
  planned.log =
      log.begin <= known && point.position <= log.end && tokens <= ObjectHeader::kMaxTokens &&
      chain <= LongestChain(spec, input.policy) &&
      (spec.log_bytes(tokens, input.policy.tails) < spec.checkpoint_bytes() || !planned.checkpoint);
  planned.chain_tokens = planned.log ? chain : 0;
  return planned;
}

ObjectHeader CheckpointHeader(const StatePlanInput& input, uint32_t position, uint32_t previous) {
  const Chunk& chunk = ChunkBefore(input.prompt, position);
  ObjectHeader header =
      StateHeader(input, ObjectKind::kCheckpoint, chunk.begin, position, chunk.parent_context);
  if (previous > 0 && previous < position)
    header.previous_state = ContextAt(input.prompt, input.model, previous);
  return header;
}

ObjectHeader LogHeader(const StatePlanInput& input, uint32_t begin, uint32_t end) {
  const base::Key parent = ContextAt(input.prompt, input.model, begin);
  ObjectHeader header = StateHeader(input, ObjectKind::kLog, begin, end, parent);
  header.previous_state = parent;
  header.tails = input.policy.tails;
  return header;
}

}  // namespace cistern::client
