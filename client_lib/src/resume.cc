#include "client_lib/src/resume.h"

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"

namespace cistern::client {
namespace {

using base::ObjectHeader;
using base::ObjectKind;

constexpr uint32_t kZeroState = UINT32_MAX;  // in place of a node: before the first token

// A state that the prompt shares.
struct Node {
  uint32_t object = 0;
  uint32_t before = kZeroState;  // the node that it continues
  uint32_t position = 0;
  uint32_t tokens = 0;  // of a log, that are used
  uint64_t bytes = 0;   // of it and of what it needs
};

class Search {
 public:
  Search(const Prompt& prompt, const Model& model, const transport::FindReply& reply,
         uint32_t limit)
      : prompt_(prompt), model_(model), reply_(reply), limit_(limit) {}

  ResumePoint Run() {
    for (uint32_t object : reply_.states) {
      reply_.objects[object].header.kind == ObjectKind::kCheckpoint ? AddCheckpoint(object)
                                                                    : AddLog(object);
    }
    return Answer();
  }

 private:
  // Whether the prompt has the object's first tokens where the object has them: how many.
  uint32_t Shared(const transport::ObjectRef& object) const {
    if (object.header.base_position >= prompt_.tokens.size()) return 0;
    const auto here = prompt_.tokens.subspan(object.header.base_position);
    const std::span<const base::TokenId> there = reply_.TokensOf(object);
    const size_t most = std::min(here.size(), there.size());
    const auto end = std::mismatch(here.begin(), here.begin() + most, there.begin()).first;
    return static_cast<uint32_t>(end - here.begin());
  }

  void AddCheckpoint(uint32_t object) {
    const transport::ObjectRef& ref = reply_.objects[object];
    const base::ObjectHead& header = ref.header;
    const uint32_t position = header.base_position + ref.tokens.count;
    if (Shared(ref) != ref.tokens.count || position > limit_) return;
    const Chunk& chunk = ChunkBefore(prompt_, position);
    if (chunk.begin != header.base_position || chunk.parent_context != header.parent_context ||
        ContextAt(prompt_, model_, position) != header.context) {
      return;
    }
    Add({object, kZeroState, position, 0, model_.spec().state.checkpoint_bytes()}, header.context);
  }

  void AddLog(uint32_t object) {
    const transport::ObjectRef& ref = reply_.objects[object];
    const base::ObjectHead& header = ref.header;
    const std::optional<Node> before = StateAt(header.parent_context);
    if (!before.has_value() || before->position != header.base_position) return;
    uint32_t tokens = std::min(Shared(ref), limit_ - before->position);
    const bool whole = tokens == ref.tokens.count;
    const bool anywhere = header.tails == base::LogTails::kEveryToken ||
                          model_.spec().state.conv_width == 0;  // there is no tail to miss
    if (!whole && !anywhere) return;
    if (tokens == 0) return;
    const uint64_t bytes = before->bytes + model_.spec().state.log_bytes(tokens, header.tails);
    const Node node{object, IndexOf(header.parent_context), before->position + tokens, tokens,
                    bytes};
    if (whole && ContextAt(prompt_, model_, node.position) == header.context) {
      Add(node, header.context);
    } else {
      nodes_.push_back(node);
    }
  }

  std::optional<Node> StateAt(const base::Key& context) const {
    if (context == model_.keys().ContextSeed()) return Node();
    const auto found = by_context_.find(context);
    if (found == by_context_.end()) return std::nullopt;
    return nodes_[found->second];
  }
  uint32_t IndexOf(const base::Key& context) const {
    const auto found = by_context_.find(context);
    return found == by_context_.end() ? kZeroState : found->second;
  }

  // Of two states behind the same token the smaller one is what logs continue.
  void Add(const Node& node, const base::Key& context) {
    nodes_.push_back(node);
    const auto index = static_cast<uint32_t>(nodes_.size() - 1);
    const auto [known, fresh] = by_context_.try_emplace(context, index);
    if (!fresh && nodes_[known->second].bytes > node.bytes) known->second = index;
  }

  ResumePoint Answer() const {
    const auto deeper = [](const Node& a, const Node& b) {
      return a.position != b.position ? a.position < b.position : a.bytes > b.bytes;
    };
    const auto best = std::max_element(nodes_.begin(), nodes_.end(), deeper);
    ResumePoint point;
    if (best == nodes_.end()) return point;
    point.position = best->position;
    for (const Node* node = &*best;; node = &nodes_[node->before]) {
      point.steps.push_back({node->object, node->tokens});
      if (node->tokens == 0) point.checkpoint_position = node->position;
      if (node->before == kZeroState) break;
    }
    std::reverse(point.steps.begin(), point.steps.end());
    return point;
  }

  const Prompt& prompt_;
  const Model& model_;
  const transport::FindReply& reply_;
  const uint32_t limit_;
  std::vector<Node> nodes_;
  absl::flat_hash_map<base::Key, uint32_t> by_context_;  // of the prompt
};

}  // namespace

const Chunk& ChunkBefore(const Prompt& prompt, uint32_t position) {
  return *std::lower_bound(prompt.chunks.begin(), prompt.chunks.end(), position,
                           [](const Chunk& chunk, uint32_t at) { return chunk.end < at; });
}

base::Key ContextAt(const Prompt& prompt, const Model& model, uint32_t position) {
  if (position == 0) return model.keys().ContextSeed();
  const Chunk& chunk = ChunkBefore(prompt, position);
  if (chunk.end == position) return chunk.context;
  return base::KeySpace::Context(chunk.parent_context,
                                 model.keys().Content(prompt.Tokens(chunk.begin, position)));
}

ResumePoint FindResume(const Prompt& prompt, const Model& model, const transport::FindReply& reply,
                       uint32_t limit) {
  return Search(prompt, model, reply, limit).Run();
}

}  // namespace cistern::client
