// FakeNode: recurrent state, beside segments.
#include <algorithm>

#include "tests/unit/client_lib/fake_node.h"
#include "tests/unit/client_lib/fake_node_parts.h"

namespace cistern::testing {

using base::Key;
using base::ObjectHeader;
using base::ObjectKind;

uint64_t FakeNode::StateBlockBytes(const ObjectHeader& header) const {
  const base::StateSpec& spec = options_.model.state;
  return header.kind == ObjectKind::kCheckpoint ? spec.layer_bytes()
                                                : spec.log_token_bytes(header.tails);
}

uint32_t FakeNode::NumBlocks(const ObjectHeader& header) const {
  if (!base::IsState(header.kind)) return NumPages(header.num_tokens());
  const uint64_t block = StateBlockBytes(header);
  return static_cast<uint32_t>((header.PayloadBytes(&options_.model) + block - 1) / block);
}

uint32_t FakeNode::NumLayers(const ObjectHeader& header) const {
  return base::IsState(header.kind) ? NumBlocks(header) : options_.model.num_layers;
}

uint64_t FakeNode::LayerBytes(const ObjectHeader& header, uint32_t layer) const {
  if (!base::IsState(header.kind)) return header.num_tokens() * options_.model.row_bytes;
  const uint64_t block = StateBlockBytes(header);
  return std::min(block, header.PayloadBytes(&options_.model) - layer * block);
}

void FakeNode::ForEachPart(const Stored& stored, uint32_t layer,
                           const std::function<void(std::byte* bytes, size_t size)>& each) {
  if (base::IsState(stored.header.kind)) {
    each(Page(stored.blocks.at(layer)), LayerBytes(stored.header, layer));
    return;
  }
  for (uint32_t token = 0; token < stored.header.num_tokens(); ++token) {
    each(Row(stored, layer, token), options_.model.row_bytes);
  }
}

bool FakeNode::HasBase(const ObjectHeader& header) {
  if (header.kind != ObjectKind::kLog || header.base_position == 0) return true;
  const std::vector<ObjectId>& enders = by_context_[header.parent_context];
  return std::any_of(enders.begin(), enders.end(),
                     [&](ObjectId id) { return base::IsState(objects_.at(id).header.kind); });
}

void FakeNode::AddStates(const transport::FindRequest& request,
                         const std::vector<std::optional<Hit>>& hits, transport::FindReply* reply,
                         std::map<ObjectId, uint32_t>* index) {
  const auto children = [&](const Key& context, ObjectKind kind) {
    std::vector<ObjectId> ids;
    for (ObjectId id : by_parent_[context]) {
      if (objects_.at(id).committed && objects_.at(id).header.kind == kind) ids.push_back(id);
    }
    return ids;
  };
  const auto add = [&](ObjectId id) {
    reply->states.push_back(Describe(id, reply, index));
    if (request.lease) Lease(reply->states.back(), reply);
  };
  std::function<void(const Key&)> add_logs = [&](const Key& context) {
    for (ObjectId id : children(context, ObjectKind::kLog)) {
      add(id);
      add_logs(objects_.at(id).header.context);
    }
  };
  std::vector<Key> contexts = {request.start_context};
  for (size_t i = 0; i < hits.size() && hits[i].has_value(); ++i) {
    contexts.push_back(request.items[i].context);
  }
  for (auto context = contexts.rbegin(); context != contexts.rend(); ++context) {
    for (ObjectId id : children(*context, ObjectKind::kCheckpoint)) {
      add(id);
      add_logs(objects_.at(id).header.context);
    }
  }
  add_logs(request.start_context);
}

}  // namespace cistern::testing
