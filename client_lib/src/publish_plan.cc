#include "client_lib/src/publish_plan.h"

#include <algorithm>

namespace cistern::client {
namespace {

using base::Lineage;
using base::RotaryEncoding;

// Whether `span` took from an object that is this very chunk, be it not to the last row.
bool IsWhole(const Span& span, const Chunk& chunk) {
  return span.content == chunk.content && span.object_tokens == chunk.num_tokens() &&
         span.begin == chunk.begin + span.first_token;
}

class Builder {
 public:
  explicit Builder(const PublishInput& input)
      : in_(input), approximate_from_(input.approximate_from) {
    for (const Span& span : input.delivered) {
      if (!span.lossless) approximate_from_ = std::min(approximate_from_, span.begin);
    }
  }

  PublishPlan Build() {
    size_t first = 0;
    for (const Chunk& chunk : in_.prompt.chunks) {
      while (first < in_.delivered.size() && in_.delivered[first].end <= chunk.begin) ++first;
      size_t last = first;
      while (last < in_.delivered.size() && in_.delivered[last].begin < chunk.end) ++last;
      if (chunk.begin < in_.range.begin || chunk.end > in_.range.end) continue;
      Add(chunk, in_.delivered.subspan(first, last - first));
    }
    return std::move(plan_);
  }

 private:
  // `spans`: those that touch the chunk.
  void Add(const Chunk& chunk, std::span<const Span> spans) {
    const auto whole = std::find_if(spans.begin(), spans.end(),
                                    [&](const Span& span) { return IsWhole(span, chunk); });
    if (whole != spans.end()) {
      if (whole->kind == SpanKind::kContent) {
        plan_.links.push_back({whole->object_id, chunk.context, chunk.parent_context});
      }
      return;
    }
    const bool movable = in_.model.spec().movable();
    const bool unrotated =
        in_.model.position_free() ||
        (movable && in_.has_pre_rope &&
         std::all_of(spans.begin(), spans.end(), [](const Span& s) { return s.pre_rope; }));
    const bool native =
        std::all_of(spans.begin(), spans.end(), [](const Span& s) { return s.native; });
    if (unrotated || native) {
      AddSegment(chunk.begin, chunk.end, chunk.parent_context, chunk.content, chunk.context,
                 unrotated ? RotaryEncoding::kUnrotated : RotaryEncoding::kRotated);
    } else {
      AddParts(chunk, spans);
    }
  }

  void AddParts(const Chunk& chunk, std::span<const Span> spans) {
    uint32_t position = chunk.begin;
    for (const Span& span : spans) {
      AddPart(chunk, position, span.begin);
      position = std::max(position, span.end);
    }
    AddPart(chunk, position, chunk.end);
  }

  void AddPart(const Chunk& chunk, uint32_t begin, uint32_t end) {
    if (end <= begin || end - begin < kMinPartTokens) return;
    const base::KeySpace& keys = in_.model.keys();
    base::Key parent = chunk.parent_context;
    if (begin != chunk.begin) {
      parent = base::KeySpace::Context(parent, keys.Content(in_.prompt.Tokens(chunk.begin, begin)));
    }
    const base::Key content = keys.Content(in_.prompt.Tokens(begin, end));
    const base::Key context =
        end == chunk.end ? chunk.context : base::KeySpace::Context(parent, content);
    AddSegment(begin, end, parent, content, context,
               in_.model.position_free() || (in_.model.spec().movable() && in_.has_pre_rope)
                   ? RotaryEncoding::kUnrotated
                   : RotaryEncoding::kRotated);
  }

  void AddSegment(uint32_t begin, uint32_t end, const base::Key& parent, const base::Key& content,
                  const base::Key& context, RotaryEncoding encoding) {
    plan_.segments.push_back({begin, end, content, parent, context, encoding,
                              approximate_from_ < end ? Lineage::kApproximate : Lineage::kExact});
  }

  const PublishInput& in_;
  uint32_t approximate_from_;
  PublishPlan plan_;
};

}  // namespace

PublishPlan PlanPublish(const PublishInput& input) { return Builder(input).Build(); }

}  // namespace cistern::client
