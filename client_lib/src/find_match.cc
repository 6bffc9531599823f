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
  const base::ObjectHead& header = object.header;
  const bool state = model.spec().state.present() && base::IsState(header.kind);
  if (header.kind != base::ObjectKind::kSegment && !state) {
    return Bad("an object that is no segment");
  }
  const absl::string_view what = base::ToString(header.kind);
  if (header.model != model.fingerprint())
    return Bad(absl::StrCat("a ", what, " of another model"));
  if (header.tenant != model.keys().tenant()) {
    return Bad(absl::StrCat("a ", what, " of another tenant"));
  }
  if (absl::Status valid = header.Validate(object.tokens.count); !valid.ok()) {
    return Bad(absl::StrCat("a ", what, " that cannot be: ", valid.message()));
  }
  return absl::OkStatus();
}

bool IsSegment(const FindReply& reply, uint32_t object) {
  return object < reply.objects.size() &&
         reply.objects[object].header.kind == base::ObjectKind::kSegment;
}

// `own`: the segment was computed right where the prompt has it. `match`, `lineage`: what the node
// says of the hit.
Quality QualityOf(bool own, transport::Match match, base::Lineage lineage,
                  const base::ObjectHead& header) {
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

bool WorthAPart(const Piece& piece, const base::ObjectHead& header, const MatchInput& input) {
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

// Which of the described segments follow which, where they were computed. Made when first asked
// for.
class Relations {
 public:
  explicit Relations(const FindReply& reply) : reply_(reply) {}

  template <typename Each>
  void ForEachAfter(uint32_t object, Each each) {
    Make();
    const auto [first, last] = by_parent_.equal_range(Header(object).context);
    for (auto it = first; it != last; ++it) each(it->second);
  }
  template <typename Each>
  void ForEachBefore(uint32_t object, Each each) {
    Make();
    const auto [first, last] = by_context_.equal_range(Header(object).parent_context);
    for (auto it = first; it != last; ++it) each(it->second);
  }
  const base::ObjectHead& Header(uint32_t object) const { return reply_.objects[object].header; }
  std::span<const base::TokenId> Tokens(uint32_t object) const {
    return reply_.TokensOf(reply_.objects[object]);
  }
  uint32_t NumTokens(uint32_t object) const { return reply_.objects[object].tokens.count; }

 private:
  void Make() {
    if (made_) return;
    made_ = true;
    for (uint32_t i = 0; i < reply_.objects.size(); ++i) {
      if (base::IsState(Header(i).kind)) continue;
      by_parent_.emplace(Header(i).parent_context, i);
      by_context_.emplace(Header(i).context, i);
    }
  }

  const FindReply& reply_;
  bool made_ = false;
  std::multimap<base::Key, uint32_t> by_parent_, by_context_;
};

// One gap: its left edge moves right over prefixes, its right edge moves left over suffixes.
class Gap {
 public:
  Gap(const MatchInput& input, Relations* relations, uint32_t begin, uint32_t end)
      : input_(input), relations_(*relations), left_(begin), right_(end) {}

  // A segment that may begin at the left edge, where the prompt's context is `context`.
  void ExtendRight(const Neighbour& neighbour, const base::Key& context) {
    const base::ObjectHead& header = relations_.Header(neighbour.object);
    const bool own = header.parent_context == context && header.base_position == left_;
    AddPrefix(neighbour.object, QualityOf(own, neighbour.match, neighbour.lineage, header));
  }

  // A segment that may end at the right edge.
  void ExtendLeft(const Neighbour& neighbour, const base::Key& context) {
    const base::ObjectHead& header = relations_.Header(neighbour.object);
    const bool own = header.context == context &&
                     header.base_position + relations_.NumTokens(neighbour.object) == right_;
    AddSuffix(neighbour.object, QualityOf(own, neighbour.match, neighbour.lineage, header));
  }

  // Best quality first, longest first; each adds what those before it did not reach. When a segment
  // is used to its end (or from its beginning), the gap may go on with what comes after (or before)
  // it.
  void AppendTo(Pieces* pieces) {
    for (TakePrefixes(pieces); !prefixes_.empty() && left_ < right_; TakePrefixes(pieces)) {
    }
    Pieces from_right;
    for (TakeSuffixes(&from_right); !suffixes_.empty() && left_ < right_;
         TakeSuffixes(&from_right)) {
    }
    pieces->insert(pieces->end(), from_right.rbegin(), from_right.rend());
  }

 private:
  void AddPrefix(uint32_t object, Quality quality) {
    const base::ObjectHead& header = relations_.Header(object);
    const uint32_t common =
        CommonPrefix(relations_.Tokens(object), input_.prompt.Tokens(left_, right_));
    const Piece piece{left_, left_ + common, object, 0, quality};
    if (Usable(piece, header)) prefixes_.push_back(piece);
  }

  void AddSuffix(uint32_t object, Quality quality) {
    const base::ObjectHead& header = relations_.Header(object);
    const uint32_t common =
        CommonSuffix(relations_.Tokens(object), input_.prompt.Tokens(left_, right_));
    const Piece piece{right_ - common, right_, object, relations_.NumTokens(object) - common,
                      quality};
    if (Usable(piece, header)) suffixes_.push_back(piece);
  }

  bool Usable(const Piece& piece, const base::ObjectHead& header) const {
    return piece.num_tokens() > 0 && Acceptable(piece.quality, input_) &&
           WorthAPart(piece, header, input_);
  }

  static bool Better(const Piece& a, const Piece& b) {
    if (a.quality != b.quality) return a.quality > b.quality;
    return a.num_tokens() > b.num_tokens();
  }

  // Leaves in prefixes_ what may follow the new left edge.
  void TakePrefixes(Pieces* pieces) {
    Pieces candidates = std::exchange(prefixes_, {});
    std::stable_sort(candidates.begin(), candidates.end(), Better);
    const uint32_t begin = left_;
    for (Piece piece : candidates) {
      if (piece.end <= left_) continue;
      piece.CutHead(left_ - begin);
      left_ = piece.end;
      pieces->push_back(piece);
    }
    if (left_ == begin) return;
    const Piece& last = pieces->back();
    if (last.first_token + last.num_tokens() != relations_.NumTokens(last.object)) return;
    relations_.ForEachAfter(last.object, [&](uint32_t object) {
      const base::ObjectHead& header = relations_.Header(object);
      // Contexts chain: what follows a segment of this very place, where it was computed, is of
      // this place too.
      const bool own = !last.moved() && header.base_position == left_;
      AddPrefix(object, QualityOf(own, transport::Match::kContent, header.lineage, header));
    });
  }

  // Leaves in suffixes_ what may precede the new right edge.
  void TakeSuffixes(Pieces* from_right) {
    Pieces candidates = std::exchange(suffixes_, {});
    std::stable_sort(candidates.begin(), candidates.end(), Better);
    const uint32_t end = right_;
    for (Piece piece : candidates) {
      piece.end = std::min(piece.end, right_);
      if (piece.begin < left_) piece.CutHead(left_ - piece.begin);  // a prefix has it already
      if (piece.begin >= piece.end) continue;
      right_ = piece.begin;
      from_right->push_back(piece);
    }
    if (right_ == end || from_right->back().first_token != 0) return;
    relations_.ForEachBefore(from_right->back().object, [&](uint32_t object) {
      const base::ObjectHead& header = relations_.Header(object);
      AddSuffix(object,
                QualityOf(/*own=*/false, transport::Match::kContent, header.lineage, header));
    });
  }

  const MatchInput& input_;
  Relations& relations_;
  uint32_t left_, right_;
  Pieces prefixes_, suffixes_;
};

}  // namespace

absl::Status CheckReply(const FindReply& reply, size_t items, const Model& model) {
  if (reply.results.size() != items) return Bad("another number of results than was asked for");
  for (const FindResult& result : reply.results) {
    if (result.where != Where::kMiss && !IsSegment(reply, result.object)) {
      return Bad("a result without its segment");
    }
  }
  for (const Neighbour& neighbour : reply.neighbours) {
    if (!IsSegment(reply, neighbour.object)) return Bad("a neighbour without its segment");
    const int64_t first = neighbour.after ? -1 : 0;
    if (neighbour.item < first || neighbour.item >= static_cast<int64_t>(items)) {
      return Bad("a neighbour of nothing");
    }
  }
  for (uint32_t state : reply.states) {
    if (state >= reply.objects.size() || !base::IsState(reply.objects[state].header.kind)) {
      return Bad("a state without its object");
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
    const transport::ObjectRef& object = input.reply.objects[result.object];
    const base::ObjectHead& header = object.header;
    if (!std::ranges::equal(input.prompt.Tokens(chunk.begin, chunk.end),
                            input.reply.TokensOf(object))) {
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
  Relations relations(input.reply);
  Pieces filled;
  const auto fill = [&](uint32_t begin, uint32_t end) {
    if (begin == end) return;
    Gap gap(input, &relations, begin, end);
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
