// FakeNode: what it says about itself, models, and what it has of a prompt.
#include <algorithm>
#include <utility>

#include "tests/unit/client_lib/fake_node.h"
#include "tests/unit/client_lib/fake_node_parts.h"

namespace cistern::testing {

using base::Key;
using base::Lineage;
using transport::CallOptions;
using transport::Match;
using transport::Where;

namespace {
constexpr size_t kNeighbours = 4;
}  // namespace

Reply FakeNode::On(const transport::HelloRequest&, const CallOptions&) { return hello_; }

Reply FakeNode::On(const transport::AdminRequest&, const CallOptions&) {
  return transport::AdminReply{"{}"};
}

Reply FakeNode::On(const transport::RegisterModelRequest& request, const CallOptions&) {
  auto spec = base::ModelSpec::FromJson(request.spec_json);
  if (!spec.ok()) return Error(spec.status());
  models_.insert(spec->Fingerprint());
  return transport::RegisterModelReply{spec->Fingerprint()};
}

std::optional<FakeNode::Hit> FakeNode::Lookup(const transport::FindItem& item, bool lossless) {
  const Hit* best = nullptr;
  Hit exact, linked, other;
  for (ObjectId id : by_content_[item.content]) {
    const Stored& stored = objects_.at(id);
    if (!stored.committed || (lossless && stored.header.lineage != Lineage::kExact)) continue;
    if (stored.header.context == item.context) {
      exact = {id, Match::kExact, stored.header.lineage};
      return exact;
    }
    const bool link = std::any_of(stored.links.begin(), stored.links.end(),
                                  [&](const auto& l) { return l.first == item.context; });
    if (link && !lossless) {
      linked = {id, Match::kExact, Lineage::kApproximate};
      best = &linked;
    } else if (item.accept_content && best == nullptr) {
      other = {id, Match::kContent, Lineage::kApproximate};
      best = &other;
    }
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

std::vector<FakeNode::Hit> FakeNode::Children(const Key& context, bool lossless, Match match) {
  std::vector<Hit> hits;
  const std::vector<ObjectId>& ids = by_parent_[context];
  for (auto id = ids.rbegin(); id != ids.rend() && hits.size() < kNeighbours; ++id) {
    const base::ObjectHeader& header = objects_.at(*id).header;
    if (header.kind != base::ObjectKind::kSegment) continue;
    const bool own = header.parent_context == context;
    const Lineage lineage = own ? header.lineage : Lineage::kApproximate;
    if (!objects_.at(*id).committed || (lossless && lineage != Lineage::kExact)) continue;
    hits.push_back({*id, match, lineage});
  }
  return hits;
}

std::vector<FakeNode::Hit> FakeNode::Before(const Key& context, bool lossless, Match match) {
  for (ObjectId id : by_context_[context]) {
    const base::ObjectHeader& header = objects_.at(id).header;
    if (header.kind != base::ObjectKind::kSegment) continue;
    const bool own = header.context == context;
    const Lineage lineage = own ? header.lineage : Lineage::kApproximate;
    if (!objects_.at(id).committed || (lossless && lineage != Lineage::kExact)) continue;
    return {{id, match, lineage}};
  }
  return {};
}

uint32_t FakeNode::Describe(ObjectId id, transport::FindReply* reply,
                            std::map<ObjectId, uint32_t>* index) {
  const auto [it, fresh] = index->emplace(id, static_cast<uint32_t>(reply->objects.size()));
  if (fresh) {
    const Stored& stored = objects_.at(id);
    transport::ObjectRef& ref = reply->Add(id, stored.header, stored.header.tokens);
    ref.where = stored.blocks.empty() ? Where::kDisk : Where::kMemory;
  }
  return it->second;
}

void FakeNode::Lease(uint32_t object, transport::FindReply* reply) {
  transport::ObjectRef& ref = reply->objects[object];
  if (ref.where != Where::kMemory || ref.lease != 0) return;
  ref.lease = NewLease(ref.id);
  // Behind those of all objects before it, and before those of all behind it.
  const std::vector<base::BlockRef>& blocks = objects_.at(ref.id).blocks;
  reply->blocks.insert(reply->blocks.begin() + ref.blocks.first, blocks.begin(), blocks.end());
  ref.blocks.count = static_cast<uint32_t>(blocks.size());
  for (size_t i = object + 1; i < reply->objects.size(); ++i)
    reply->objects[i].blocks.first += ref.blocks.count;
}

void FakeNode::AddNeighbours(const transport::FindRequest& request,
                             const std::vector<std::optional<Hit>>& hits,
                             transport::FindReply* reply, std::map<ObjectId, uint32_t>* index) {
  const bool movable = std::any_of(request.items.begin(), request.items.end(),
                                   [](const auto& item) { return item.accept_content; });
  const auto add = [&](const std::vector<Hit>& found, int32_t item, bool after) {
    for (const Hit& hit : found) {
      reply->neighbours.push_back(
          {item, after, hit.match, hit.lineage, Describe(hit.id, reply, index)});
    }
  };
  const auto count = static_cast<int32_t>(hits.size());
  for (int32_t i = 0; i < count; ++i) {
    if (hits[i].has_value()) continue;
    if (i == 0 || hits[i - 1].has_value()) {  // a gap's left edge
      const Key asked = i == 0 ? request.start_context : request.items[i - 1].context;
      add(Children(asked, request.lossless, Match::kExact), i - 1, true);
      const Key there = i == 0 ? asked : objects_.at(hits[i - 1]->id).header.context;
      if (movable && there != asked) add(Children(there, false, Match::kContent), i - 1, true);
    }
    if (i + 1 < count && hits[i + 1].has_value()) {  // its right edge
      const Key asked = request.items[i].context;
      add(Before(asked, request.lossless, Match::kExact), i + 1, false);
      const Key there = objects_.at(hits[i + 1]->id).header.parent_context;
      if (movable && there != asked) add(Before(there, false, Match::kContent), i + 1, false);
    }
  }
}

Reply FakeNode::On(const transport::FindRequest& request, const CallOptions& options) {
  On(transport::ReleaseRequest{request.release}, options);
  if (models_.count(request.model) == 0) {
    return Error(absl::FailedPreconditionError("unknown model"));
  }
  transport::FindReply reply;
  std::map<ObjectId, uint32_t> index;
  std::vector<std::optional<Hit>> hits;
  for (const transport::FindItem& item : request.items) {
    hits.push_back(Lookup(item, request.lossless));
    transport::FindResult result;
    if (hits.back().has_value()) {
      result.object = Describe(hits.back()->id, &reply, &index);
      transport::ObjectRef& ref = reply.objects[result.object];
      result.where = ref.where;
      result.match = hits.back()->match;
      result.lineage = hits.back()->lineage;
      if (request.lease) Lease(result.object, &reply);
    }
    reply.results.push_back(result);
  }
  if (request.neighbours) AddNeighbours(request, hits, &reply, &index);
  if (request.states) AddStates(request, hits, &reply, &index);
  return reply;
}

}  // namespace cistern::testing
