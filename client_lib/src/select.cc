#include "client_lib/src/select.h"

#include <algorithm>

namespace cistern::client {
namespace {

uint64_t CountTokens(const Pieces& pieces) {
  uint64_t tokens = 0;
  for (const Piece& piece : pieces) tokens += piece.num_tokens();
  return tokens;
}

void DropEmpty(Pieces* pieces) {
  std::erase_if(*pieces, [](const Piece& piece) { return piece.begin >= piece.end; });
}

// Calls `each(first, last)` for every maximal range of pieces in which neighbours touch and
// `joins(a, b)` holds.
template <typename Joins, typename Each>
void ForEachRun(Pieces* pieces, Joins joins, Each each) {
  for (size_t first = 0; first < pieces->size();) {
    size_t last = first + 1;
    while (last < pieces->size() && (*pieces)[last - 1].end == (*pieces)[last].begin &&
           joins((*pieces)[last - 1], (*pieces)[last])) {
      ++last;
    }
    each(pieces->data() + first, pieces->data() + last);
    first = last;
  }
}

// Whether `b` follows `a` where they were computed, too.
bool SameSource(const SelectInput& input, const Piece& a, const Piece& b) {
  if (a.object == b.object) return a.first_token + a.num_tokens() == b.first_token;
  const transport::ObjectRef& from = input.objects[a.object];
  const transport::ObjectRef& to = input.objects[b.object];
  return b.first_token == 0 && a.first_token + a.num_tokens() == from.tokens.count &&
         to.header.parent_context == from.header.context;
}

void DropRun(Piece* first, Piece* last) {
  for (Piece* piece = first; piece != last; ++piece) piece->end = piece->begin;
}

void DropShort(uint32_t min_tokens, bool lossless_too, Pieces* pieces) {
  const auto joins = [&](const Piece& a, const Piece& b) {
    return lossless_too || a.lossless() == b.lossless();
  };
  ForEachRun(pieces, joins, [&](Piece* first, Piece* last) {
    if (!lossless_too && first->lossless()) return;
    if ((last - 1)->end - first->begin < min_tokens) DropRun(first, last);
  });
  DropEmpty(pieces);
}

}  // namespace

void ClipSink(const SelectInput& input, Pieces* pieces) {
  const uint32_t sink = input.policy.sink_tokens;
  for (Piece& piece : *pieces) {
    if (!piece.moved()) continue;
    const uint32_t source = input.objects[piece.object].header.base_position + piece.first_token;
    const uint32_t first = std::min(piece.begin, source);
    if (first < sink) piece.CutHead(std::min(piece.num_tokens(), sink - first));
  }
  DropEmpty(pieces);
}

void ClipHeads(const SelectInput& input, Pieces* pieces) {
  if (input.policy.recompute_head == 0) return;
  const auto joins = [&](const Piece& a, const Piece& b) {
    return a.moved() == b.moved() && SameSource(input, a, b);
  };
  ForEachRun(pieces, joins, [&](Piece* first, Piece* last) {
    if (!first->moved()) return;
    uint32_t left = input.policy.recompute_head;
    for (Piece* piece = first; piece != last && left > 0; ++piece) {
      const uint32_t cut = std::min(left, piece->num_tokens());
      piece->CutHead(cut);
      left -= cut;
    }
  });
  DropEmpty(pieces);
}

void ClipLastToken(const SelectInput& input, Pieces* pieces) {
  if (!input.policy.compute_last_token || pieces->empty()) return;
  pieces->back().end = std::min(pieces->back().end, input.num_tokens - 1);
  DropEmpty(pieces);
}

void DropShortRuns(const SelectInput& input, Pieces* pieces) {
  DropShort(input.policy.min_span_tokens, /*lossless_too=*/false, pieces);
  DropShort(input.policy.min_span_tokens, /*lossless_too=*/true, pieces);
}

void DropDear(const SelectInput& input, Pieces* pieces) {
  const auto on_disk = [&](const Piece& piece) {
    return input.objects[piece.object].where == transport::Where::kDisk;
  };
  const auto joins = [&](const Piece& a, const Piece& b) { return on_disk(a) == on_disk(b); };
  ForEachRun(pieces, joins, [&](Piece* first, Piece* last) {
    const uint32_t tokens = (last - 1)->end - first->begin;
    if (!input.cost.WorthFetching(tokens, input.token_bytes, on_disk(*first))) DropRun(first, last);
  });
  DropEmpty(pieces);
}

uint64_t Select(const SelectInput& input, Pieces* pieces) {
  ClipSink(input, pieces);
  ClipHeads(input, pieces);
  ClipLastToken(input, pieces);
  const uint64_t before = CountTokens(*pieces);
  DropShortRuns(input, pieces);
  DropDear(input, pieces);
  return before - CountTokens(*pieces);
}

}  // namespace cistern::client
