// Find and Lease.
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "transport/wire/codec_parts.h"

namespace cistern::transport::wire {
namespace {

void EncodeObject(const ObjectRef& object, FoundObject::Builder out) {
  out.setId(object.id);
  out.setWhere(static_cast<Where>(object.where));
  out.setLease(object.lease);
  EncodeHead(object.header, out);
  out.setNumTokens(object.tokens.count);
  out.setNumBlocks(object.blocks.count);
}

// The next `count` of a list's elements.
absl::Status TakeRun(uint32_t count, absl::string_view what, size_t size, ListRun* left,
                     ListRun* run) {
  if (count > left->count) {
    return absl::InvalidArgumentError(absl::StrCat("find reply: its objects have more ", what,
                                                   " than the ", size, " that it brings"));
  }
  *run = {left->first, count};
  *left = {left->first + count, left->count - count};
  return absl::OkStatus();
}

// What the objects have not taken yet of the reply's lists.
struct Left {
  ListRun tokens;
  ListRun blocks;
};

absl::Status DecodeObject(FoundObject::Reader in, const transport::FindReply& reply, Left* left,
                          ObjectRef* object) {
  object->id = in.getId();
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getWhere(), transport::Where::kDisk, "an object's place", &object->where));
  object->lease = in.getLease();
  CISTERN_RETURN_IF_ERROR(DecodeHead(in, &object->header));
  CISTERN_RETURN_IF_ERROR(
      TakeRun(in.getNumTokens(), "tokens", reply.tokens.size(), &left->tokens, &object->tokens));
  CISTERN_RETURN_IF_ERROR(
      TakeRun(in.getNumBlocks(), "blocks", reply.blocks.size(), &left->blocks, &object->blocks));
  CISTERN_RETURN_IF_ERROR(CheckCount(object->blocks.count, kMaxBlocks, "blocks in an object"));
  return object->header.Validate(object->tokens.count);
}

absl::Status DecodeObjects(FindReply::Reader in, capnp::List<FoundObject>::Reader objects,
                           transport::FindReply* message) {
  DecodeTokens(in.getTokens(), &message->tokens);
  CISTERN_RETURN_IF_ERROR(DecodeBlocks(in.getBlocks(), UINT32_MAX, &message->blocks));
  Left left{.tokens = {0, static_cast<uint32_t>(message->tokens.size())},
            .blocks = {0, static_cast<uint32_t>(message->blocks.size())}};
  message->objects.resize(objects.size());
  for (uint32_t i = 0; i < objects.size(); ++i)
    CISTERN_RETURN_IF_ERROR(DecodeObject(objects[i], *message, &left, &message->objects[i]));
  if (left.tokens.count == 0 && left.blocks.count == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("find reply: ", left.tokens.count, " tokens and ",
                                                 left.blocks.count, " blocks are nobody's"));
}

absl::Status CheckObjectIndex(uint32_t index, size_t num_objects) {
  if (index < num_objects) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("find reply: object ", index, " of ", num_objects, " is meant"));
}

absl::Status DecodeResult(FindResult::Reader in, size_t num_objects,
                          transport::FindResult* result) {
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getWhere(), transport::Where::kDisk, "a result's place", &result->where));
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getMatch(), transport::Match::kContent, "a result's match", &result->match));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getLineage(), base::Lineage::kApproximate,
                                     "a result's lineage", &result->lineage));
  result->object = in.getObject();
  if (result->where == transport::Where::kMiss) return absl::OkStatus();
  return CheckObjectIndex(result->object, num_objects);
}

absl::Status DecodeNeighbour(Neighbour::Reader in, size_t num_results, size_t num_objects,
                             transport::Neighbour* neighbour) {
  neighbour->item = in.getItem();
  neighbour->after = in.getAfter();
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getMatch(), transport::Match::kContent,
                                     "a neighbour's match", &neighbour->match));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getLineage(), base::Lineage::kApproximate,
                                     "a neighbour's lineage", &neighbour->lineage));
  neighbour->object = in.getObject();
  if (neighbour->item < -1 || neighbour->item >= static_cast<int64_t>(num_results)) {
    return absl::InvalidArgumentError(
        absl::StrCat("find reply: a neighbour of item ", neighbour->item, " of ", num_results));
  }
  return CheckObjectIndex(neighbour->object, num_objects);
}

}  // namespace

void Encode(const FindRequest& message, Find::Builder out) {
  out.setModelHi(message.model.hi);
  out.setModelLo(message.model.lo);
  out.setStartContextHi(message.start_context.hi);
  out.setStartContextLo(message.start_context.lo);
  out.setLease(message.lease);
  out.setLossless(message.lossless);
  out.setNeighbours(message.neighbours);
  out.setStates(message.states);
  auto items = out.initItems(message.items.size());
  for (uint32_t i = 0; i < message.items.size(); ++i) {
    const transport::FindItem& item = message.items[i];
    auto to = items[i];
    to.setContentHi(item.content.hi);
    to.setContentLo(item.content.lo);
    to.setContextHi(item.context.hi);
    to.setContextLo(item.context.lo);
    to.setAcceptContent(item.accept_content);
  }
  EncodeIds(message.release, out.initRelease(message.release.size()));
}

absl::Status Decode(Find::Reader in, FindRequest* message) {
  message->model = {in.getModelHi(), in.getModelLo()};
  message->start_context = {in.getStartContextHi(), in.getStartContextLo()};
  message->lease = in.getLease();
  message->lossless = in.getLossless();
  message->neighbours = in.getNeighbours();
  message->states = in.getStates();
  const auto items = in.getItems();
  CISTERN_RETURN_IF_ERROR(CheckCount(items.size(), kMaxItems, "items to find"));
  message->items.reserve(items.size());
  for (const auto item : items) {
    message->items.push_back({{item.getContentHi(), item.getContentLo()},
                              {item.getContextHi(), item.getContextLo()},
                              item.getAcceptContent()});
  }
  return DecodeIds(in.getRelease(), &message->release);
}

void Encode(const transport::FindReply& message, FindReply::Builder out) {
  auto results = out.initResults(message.results.size());
  for (uint32_t i = 0; i < message.results.size(); ++i) {
    const transport::FindResult& result = message.results[i];
    auto to = results[i];
    to.setWhere(static_cast<Where>(result.where));
    to.setMatch(static_cast<Match>(result.match));
    to.setLineage(static_cast<Lineage>(result.lineage));
    to.setObject(result.object);
  }
  auto neighbours = out.initNeighbours(message.neighbours.size());
  for (uint32_t i = 0; i < message.neighbours.size(); ++i) {
    const transport::Neighbour& neighbour = message.neighbours[i];
    auto to = neighbours[i];
    to.setItem(neighbour.item);
    to.setAfter(neighbour.after);
    to.setMatch(static_cast<Match>(neighbour.match));
    to.setLineage(static_cast<Lineage>(neighbour.lineage));
    to.setObject(neighbour.object);
  }
  auto objects = out.initObjects(message.objects.size());
  for (uint32_t i = 0; i < message.objects.size(); ++i)
    EncodeObject(message.objects[i], objects[i]);
  EncodeTokens(message.tokens, out.initTokens(message.tokens.size()));
  EncodeBlocks(message.blocks, out.initBlocks(message.blocks.size()));
  EncodeIndexes(message.states, out.initStates(message.states.size()));
}

absl::Status Decode(FindReply::Reader in, transport::FindReply* message) {
  const auto results = in.getResults();
  const auto neighbours = in.getNeighbours();
  const auto objects = in.getObjects();
  CISTERN_RETURN_IF_ERROR(CheckCount(results.size(), kMaxItems, "results"));
  CISTERN_RETURN_IF_ERROR(CheckCount(neighbours.size(), kMaxItems, "neighbours"));
  CISTERN_RETURN_IF_ERROR(CheckCount(objects.size(), kMaxItems, "objects"));
  message->results.resize(results.size());
  for (uint32_t i = 0; i < results.size(); ++i) {
    CISTERN_RETURN_IF_ERROR(DecodeResult(results[i], objects.size(), &message->results[i]));
  }
  message->neighbours.resize(neighbours.size());
  for (uint32_t i = 0; i < neighbours.size(); ++i) {
    CISTERN_RETURN_IF_ERROR(
        DecodeNeighbour(neighbours[i], results.size(), objects.size(), &message->neighbours[i]));
  }
  CISTERN_RETURN_IF_ERROR(DecodeObjects(in, objects, message));
  CISTERN_RETURN_IF_ERROR(DecodeIndexes(in.getStates(), "states", &message->states));
  for (const uint32_t state : message->states)
    CISTERN_RETURN_IF_ERROR(CheckObjectIndex(state, objects.size()));
  return absl::OkStatus();
}

void Encode(const transport::LeaseReply& message, LeaseReply::Builder out) {
  auto results = out.initResults(message.results.size());
  for (uint32_t i = 0; i < message.results.size(); ++i) {
    const transport::LeaseResult& result = message.results[i];
    auto to = results[i];
    to.setOutcome(static_cast<LeaseOutcome>(result.outcome));
    to.setFromDisk(result.from_disk);
    to.setLease(result.lease);
    EncodeBlocks(result.blocks, to.initBlocks(result.blocks.size()));
  }
}

absl::Status Decode(LeaseReply::Reader in, transport::LeaseReply* message) {
  const auto results = in.getResults();
  CISTERN_RETURN_IF_ERROR(CheckCount(results.size(), kMaxItems, "leases"));
  message->results.resize(results.size());
  for (uint32_t i = 0; i < results.size(); ++i) {
    const auto from = results[i];
    transport::LeaseResult* result = &message->results[i];
    CISTERN_RETURN_IF_ERROR(DecodeEnum(from.getOutcome(), transport::LeaseOutcome::kNoRoom,
                                       "a lease's outcome", &result->outcome));
    result->from_disk = from.getFromDisk();
    result->lease = from.getLease();
    CISTERN_RETURN_IF_ERROR(DecodeBlocks(from.getBlocks(), kMaxBlocks, &result->blocks));
  }
  return absl::OkStatus();
}

}  // namespace cistern::transport::wire
