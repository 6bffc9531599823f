#include "client_lib/src/find_match.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::client {
namespace {

using transport::FindReply;
using transport::FindResult;
using transport::Neighbour;
using transport::ObjectRef;
using transport::Where;

absl::Status Bad(absl::string_view what) {
  return absl::InternalError(absl::StrCat("the node's answer to Find has ", what));
}

absl::Status CheckObject(const ObjectRef& object, const Model& model) {
  const base::ObjectHeader& header = object.header;
  if (header.kind != base::ObjectKind::kSegment) return Bad("an object that is no segment");
  if (header.model != model.fingerprint()) return Bad("a segment of another model");
  if (header.tenant != model.keys().tenant()) return Bad("a segment of another tenant");
  if (absl::Status valid = header.Validate(); !valid.ok()) {
    return Bad(absl::StrCat("a segment that cannot be: ", valid.message()));
  }
  return absl::OkStatus();
}

// `own`: the segment was computed right where the prompt has it. `match`, `lineage`: what the node
// says of the hit.
Quality QualityOf(bool own, transport::Match match, base::Lineage lineage,
                  const base::ObjectHeader& header) {
  if (!own) return match == transport::Match::kExact ? Quality::kLinked : Quality::kContent;
  const bool lossless = lineage == base::Lineage::kExact && header.lineage == base::Lineage::kExact;
  return lossless ? Quality::kLossless : Quality::kOwn;
}

// What the policy takes, and what the layout allows: rows that nobody looks into cannot be moved.
bool Acceptable(Quality quality, const MatchInput& input) {
  if (input.policy.reuse == Reuse::kExact) return quality == Quality::kLossless;
  return input.model.spec().movable() || quality >= Quality::kOwn;
}

// A chunk of which rotated rows were moved into a part cannot be shared as a whole (they would be
// moved again): not for a few tokens. Measured on agent traces: 32 recovers most, with and without
// structure.
constexpr uint32_t kMinMovedRotated = 32;

bool WorthAPart(const Piece& piece, const base::ObjectHeader& header, const MatchInput& input) {
  return !piece.moved() || piece.num_tokens() >= kMinMovedRotated ||
         header.encoding == base::RotaryEncoding::kUnrotated || input.model.position_free();
}

uint32_t CommonPrefix(std::span<const base::TokenId> a, std::span<const base::TokenId> b) {
  const size_t count = std::min(a.size(), b.size());
  return static_cast<uint32_t>(std::mismatch(a.begin(), a.begin() + count, b.begin()).first -
                               a.begin());
}

uint32_t CommonSuffix(std::span<const base::TokenId> a, std::span<const base::TokenId> b) {
  const size_t count = std::min(a.size(), b.size());
  return static_cast<uint32_t>(std::mismatch(a.rbegin(), a.rbegin() + count, b.rbegin()).first -
                               a.rbegin());
}

// One gap: its left edge moves right over prefixes, its right edge moves left over suffixes.
class Gap {
 public:
  Gap(const MatchInput& input, uint32_t begin, uint32_t end)
      : input_(input), left_(begin), right_(end), begin_(begin), end_(end) {}

  void ExtendRight(const Neighbour& neighbour, const base::Key& context) {
    const base::ObjectHeader& header = Header(neighbour);
    const bool own = header.parent_context == context && header.base_position == begin_;
    const uint32_t common = CommonPrefix(header.tokens, input_.prompt.Tokens(begin_, right_));
    Piece piece{begin_, begin_ + common, neighbour.object, 0,
                QualityOf(own, neighbour.match, neighbour.lineage, header)};
    if (Usable(piece, header)) prefixes_.push_back(piece);
  }

  void ExtendLeft(const Neighbour& neighbour, const base::Key& context) {
    const base::ObjectHeader& header = Header(neighbour);
    const bool own =
        header.context == context && header.base_position + header.num_tokens() == end_;
    const uint32_t common = CommonSuffix(header.tokens, input_.prompt.Tokens(begin_, end_));
    Piece piece{end_ - common, end_, neighbour.object, header.num_tokens() - common,
                QualityOf(own, neighbour.match, neighbour.lineage, header)};
    if (Usable(piece, header)) suffixes_.push_back(piece);
  }

  // Best quality first, longest first; each adds what those before it did not reach.
  void AppendTo(Pieces* pieces) {
    const auto better = [](const Piece& a, const Piece& b) {
      if (a.quality != b.quality) return a.quality > b.quality;
      return a.num_tokens() > b.num_tokens();
    };
    std::stable_sort(prefixes_.begin(), prefixes_.end(), better);
    std::stable_sort(suffixes_.begin(), suffixes_.end(), better);
    for (Piece piece : prefixes_) {
      if (piece.end <= left_) continue;
      piece.CutHead(left_ - piece.begin);
      left_ = piece.end;
      pieces->push_back(piece);
    }
    Pieces from_right;
    for (Piece piece : suffixes_) {
      piece.end = std::min(piece.end, right_);
      if (piece.begin < left_) piece.CutHead(left_ - piece.begin);
      if (piece.begin >= piece.end) continue;
      right_ = piece.begin;
      from_right.push_back(piece);
    }
    pieces->insert(pieces->end(), from_right.rbegin(), from_right.rend());
  }

 private:
  bool Usable(const Piece& piece, const base::ObjectHeader& header) const {
    return Acceptable(piece.quality, input_) && WorthAPart(piece, header, input_);
  }
  const base::ObjectHeader& Header(const Neighbour& neighbour) const {
    return input_.reply.objects[neighbour.object].header;
  }

  const MatchInput& input_;
  uint32_t left_, right_;
  const uint32_t begin_, end_;
  Pieces prefixes_, suffixes_;
};

}  // namespace

absl::Status CheckReply(const FindReply& reply, size_t items, const Model& model) {
  if (reply.results.size() != items) return Bad("another number of results than was asked for");
  for (const FindResult& result : reply.results) {
    if (result.where != Where::kMiss && result.object >= reply.objects.size()) {
      return Bad("a result without its object");
    }
  }
  for (const Neighbour& neighbour : reply.neighbours) {
    if (neighbour.object >= reply.objects.size()) return Bad("a neighbour without its object");
    const int64_t first = neighbour.after ? -1 : 0;
    if (neighbour.item < first || neighbour.item >= static_cast<int64_t>(items)) {
      return Bad("a neighbour of nothing");
    }
  }
  for (const ObjectRef& object : reply.objects) {
    if (absl::Status ok = CheckObject(object, model); !ok.ok()) return ok;
  }
  return absl::OkStatus();
}

Pieces WholeChunks(const MatchInput& input, uint64_t* mismatches) {
  Pieces pieces;
  for (size_t i = 0; i < input.reply.results.size(); ++i) {
    const FindResult& result = input.reply.results[i];
    if (result.where == Where::kMiss) continue;
    const Chunk& chunk = input.prompt.chunks[i];
    const base::ObjectHeader& header = input.reply.objects[result.object].header;
    const auto tokens = input.prompt.Tokens(chunk.begin, chunk.end);
    if (!std::equal(tokens.begin(), tokens.end(), header.tokens.begin(), header.tokens.end())) {
      ++*mismatches;
      continue;
    }
    const bool own = header.context == chunk.context && header.base_position == chunk.begin;
    const Piece piece{chunk.begin, chunk.end, result.object, 0,
                      QualityOf(own, result.match, result.lineage, header)};
    const bool in_sink = piece.moved() && chunk.begin < input.policy.sink_tokens;
    if (Acceptable(piece.quality, input) && !in_sink) pieces.push_back(piece);
  }
  return pieces;
}

Pieces FillGaps(const MatchInput& input, const Pieces& pieces) {
  // By where they attach: (position, after). Most edges of gaps have a few, most others none.
  std::multimap<std::pair<uint32_t, bool>, const Neighbour*> at_edge;
  for (const Neighbour& n : input.reply.neighbours) {
    const uint32_t edge = !n.after     ? input.prompt.chunks[n.item].begin
                          : n.item < 0 ? 0
                                       : input.prompt.chunks[n.item].end;
    at_edge.emplace(std::pair(edge, n.after), &n);
  }
  const auto context_at = [&](const Neighbour& n) {
    if (!n.after) return input.prompt.chunks[n.item].parent_context;
    return n.item < 0 ? input.model.keys().ContextSeed() : input.prompt.chunks[n.item].context;
  };
  Pieces filled;
  const auto fill = [&](uint32_t begin, uint32_t end) {
    if (begin == end) return;
    Gap gap(input, begin, end);
    const auto [after, after_end] = at_edge.equal_range({begin, true});
    for (auto it = after; it != after_end; ++it) {
      gap.ExtendRight(*it->second, context_at(*it->second));
    }
    const auto [before, before_end] = at_edge.equal_range({end, false});
    for (auto it = before; it != before_end; ++it) {
      gap.ExtendLeft(*it->second, context_at(*it->second));
    }
    gap.AppendTo(&filled);
  };
  uint32_t position = 0;
  for (const Piece& piece : pieces) {
    fill(position, piece.begin);
    filled.push_back(piece);
    position = piece.end;
  }
  fill(position, static_cast<uint32_t>(input.prompt.tokens.size()));
  return filled;
}

}  // namespace cistern::client
