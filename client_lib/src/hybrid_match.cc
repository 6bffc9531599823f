#include "client_lib/src/hybrid_match.h"

#include <algorithm>
#include <utility>

namespace cistern::client {
namespace {

constexpr uint32_t kMaxTries = 8;  // states that are looked at, from the deepest on

// Tokens from the first one on that have rows computed behind the very same past.
uint32_t RowsEnd(const Pieces& pieces) {
  uint32_t end = 0;
  for (const Piece& piece : pieces) {
    if (piece.begin != end || !piece.lossless()) break;
    end = piece.end;
  }
  return end;
}

void CutAt(uint32_t end, Pieces* pieces) {
  std::erase_if(*pieces, [end](const Piece& piece) { return piece.begin >= end; });
  if (!pieces->empty()) pieces->back().end = std::min(pieces->back().end, end);
}

Resume Describe(const MatchInput& input, const ResumePoint& point, const Pieces& pieces) {
  const base::StateSpec& spec = input.model.spec().state;
  const auto on_disk = [&](uint32_t object) {
    return input.reply.objects[object].where == transport::Where::kDisk;
  };
  Resume resume;
  resume.position = point.position;
  resume.checkpoint_position = point.checkpoint_position;
  resume.folded_tokens = point.position - point.checkpoint_position;
  for (const StateStep& step : point.steps) {
    const base::ObjectHead& header = input.reply.objects[step.object].header;
    if (header.kind == base::ObjectKind::kCheckpoint) {
      resume.checkpoint_bytes = spec.checkpoint_bytes();
    } else {
      resume.log_bytes += spec.log_bytes(step.tokens, header.tails);
    }
    resume.on_disk |= on_disk(step.object);
  }
  for (const Piece& piece : pieces) resume.on_disk |= on_disk(piece.object);
  return resume;
}

bool WorthIt(const MatchInput& input, const CostModel& cost, const Resume& resume) {
  const uint64_t bytes = resume.position * input.model.spec().token_bytes() +
                         resume.checkpoint_bytes + resume.log_bytes;
  return resume.position >= std::max(1u, input.policy.min_span_tokens) &&
         cost.WorthFetching(resume.position, bytes / resume.position, resume.on_disk);
}

}  // namespace

HybridMatch MatchHybrid(const MatchInput& input, const CostModel& cost, uint64_t* mismatches) {
  HybridMatch match;
  match.pieces = FillGaps(input, WholeChunks(input, mismatches));
  const auto tokens = static_cast<uint32_t>(input.prompt.tokens.size());
  const uint32_t limit = std::min(
      RowsEnd(match.pieces), input.policy.compute_last_token && tokens > 0 ? tokens - 1 : tokens);
  // What is deepest may lie on disk, or be dear to fetch: a shallower one may be worth it.
  uint32_t within = limit;
  for (uint32_t tries = 0; tries < kMaxTries; ++tries) {
    ResumePoint point = FindResume(input.prompt, input.model, input.reply, within);
    if (point.position == 0) break;
    match.left_out_tokens = std::max<uint64_t>(match.left_out_tokens, point.position);
    within = point.position - 1;
    Pieces pieces = match.pieces;
    CutAt(point.position, &pieces);
    const Resume resume = Describe(input, point, pieces);
    if (!WorthIt(input, cost, resume)) continue;
    match.pieces = std::move(pieces);
    match.point = std::move(point);
    match.resume = resume;
    break;
  }
  match.left_out_tokens -= match.resume.position;
  if (match.resume.position == 0) match.pieces.clear();
  if (limit >= match.resume.position + std::max(1u, input.policy.min_span_tokens)) {
    match.wanted_states.push_back(limit);
  }
  return match;
}

}  // namespace cistern::client
