// Find: which chunks of a prompt are stored, leased on the way, what is stored beside the gaps, and
// the states on the way; or which blobs.
#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

#include "cacheserver/layout.h"
#include "cacheserver/service/find_states.h"
#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::FindItem;
using transport::FindReply;
using transport::FindRequest;
using transport::FindResult;

constexpr uint64_t kObjectBytes = 192;  // of a description, without tokens and blocks
constexpr uint64_t kNeighbourBytes = 24;
constexpr uint64_t kDescribedBlockBytes = 16;
constexpr size_t kUsualItems = 256;   // room is made for so many hits at once ...
constexpr size_t kUsualTokens = 128;  // ... of so many tokens
constexpr size_t kUsualBlocks = 8;

// Fills one reply, under the lock.
class Finder {
 public:
  Finder(const Parts& parts, Store& store, transport::SessionId session, const FindRequest& request)
      : parts_(parts), store_(store), session_(session), request_(request) {
    reply_.results.resize(request.items.size());
    const size_t usual = std::min(request.items.size(), kUsualItems);
    reply_.objects.reserve(usual);
    reply_.tokens.reserve(usual * kUsualTokens);
    reply_.blocks.reserve(request.lease ? usual * kUsualBlocks : 0);
    index_.reserve(usual);
  }

  void Run() {
    for (size_t i = 0; i < request_.items.size(); ++i)
      FindOne(request_.items[i], &reply_.results[i]);
    if (request_.neighbours) {
      for (size_t i = 0; i < request_.items.size(); ++i)
        DescribeNeighbours(static_cast<int32_t>(i));
    }
    if (request_.states) DescribeStates();
  }

  FindReply Take() { return std::move(reply_); }
  bool truncated() const { return truncated_; }

 private:
  void FindOne(const FindItem& item, FindResult* result) {
    const storage::Found found = store_.Find({.content = item.content,
                                              .context = item.context,
                                              .accept_content = item.accept_content,
                                              .lossless = request_.lossless});
    const std::optional<uint32_t> object = Describe(found.object, request_.lease);
    if (!object.has_value()) return;
    result->where = reply_.objects[*object].where;
    result->match = static_cast<transport::Match>(found.match);
    result->lineage = found.lineage;
    result->object = *object;
  }

  bool Hit(int32_t item) const { return reply_.results[item].where != transport::Where::kMiss; }
  const transport::ObjectRef& ObjectOf(int32_t item) const {
    return reply_.objects[reply_.results[item].object];
  }

  void DescribeNeighbours(int32_t item) {
    if (Hit(item)) return;
    if (item == 0 || Hit(item - 1)) After(item - 1);
    const bool last_of_gap =
        item + 1 < static_cast<int32_t>(request_.items.size()) && Hit(item + 1);
    if (last_of_gap) Before(item + 1);
  }

  // What may continue `item`: in the asked context, and, if another will do, in the hit's own.
  void After(int32_t item) {
    const base::Key asked = item < 0 ? request_.start_context : request_.items[item].context;
    AddChildren(item, asked, transport::Match::kExact);
    if (item < 0 || !request_.items[item + 1].accept_content) return;
    const base::Key own = ObjectOf(item).header.context;
    if (own != asked) AddChildren(item, own, transport::Match::kContent);
  }

  void AddChildren(int32_t item, const base::Key& context, transport::Match match) {
    for (const storage::Found& found : store_.Children(context, request_.lossless))
      AddNeighbour(item, /*after=*/true, match, found);
  }

  // What precedes `item` where the hit was computed.
  void Before(int32_t item) {
    const base::Key own_parent = ObjectOf(item).header.parent_context;
    const bool same_past = own_parent == request_.items[item - 1].context;
    if (!same_past && !request_.items[item - 1].accept_content) return;
    AddNeighbour(item, /*after=*/false,
                 same_past ? transport::Match::kExact : transport::Match::kContent,
                 store_.ByContext(own_parent, request_.lossless));
  }

  void AddNeighbour(int32_t item, bool after, transport::Match match, const storage::Found& found) {
    if (reply_.neighbours.size() >= transport::kMaxItems) return;
    const std::optional<uint32_t> object = Describe(found.object, /*lease=*/false);
    if (!object.has_value()) return;
    reply_.neighbours.push_back({.item = item,
                                 .after = after,
                                 .match = match,
                                 .lineage = found.lineage,
                                 .object = *object});
    bytes_ += kNeighbourBytes;
  }

  // The chunks from the start on that were found in the asked context.
  std::vector<KnownChunk> ExactPrefix() const {
    std::vector<KnownChunk> chunks;
    for (size_t i = 0; i < request_.items.size(); ++i) {
      const auto item = static_cast<int32_t>(i);
      if (!Hit(item) || reply_.results[i].match != transport::Match::kExact) break;
      chunks.push_back({request_.items[i].context, reply_.TokensOf(ObjectOf(item))});
    }
    return chunks;
  }

  void DescribeStates() {
    for (const storage::ObjectId id :
         StatesOnTheWay(store_, request_.model, request_.start_context, ExactPrefix())) {
      if (reply_.states.size() >= transport::kMaxItems) return;
      const std::optional<uint32_t> object = Describe(store_.Describe(id), request_.lease, true);
      // What follows may stand on what has no room any more.
      if (!object.has_value()) return;
      reply_.states.push_back(*object);
      bytes_ += sizeof(uint32_t);
    }
  }

  bool Asked(base::ObjectKind kind, bool state) const {
    if (state) return base::IsState(kind);
    return kind == (request_.model.IsZero() ? base::ObjectKind::kBlob : base::ObjectKind::kSegment);
  }

  // Blocks of state and blobs are many, and known by the object's shape; a segment has one for 16
  // tokens.
  uint64_t DescribedBytes(const storage::StoredHeader& header) const {
    const uint64_t bytes = kObjectBytes + header.num_tokens() * (sizeof(base::TokenId) + 1);
    if (header.kind() == base::ObjectKind::kSegment) return bytes;
    const absl::StatusOr<storage::ObjectShape> shape = ShapeOf(header, parts_.blob_block_bytes);
    return bytes + (shape.ok() ? shape->num_blocks() * kDescribedBlockBytes : 0);
  }

  // The object's place in the reply; nothing when it is a miss, or when the reply is full.
  std::optional<uint32_t> Describe(const storage::ObjectView& view, bool lease,
                                   bool state = false) {
    if (view.where == storage::Where::kMiss || view.header->model() != request_.model ||
        !Asked(view.header->kind(), state))
      return std::nullopt;
    if (const auto known = index_.find(view.id); known != index_.end()) return known->second;
    const uint64_t bytes = DescribedBytes(*view.header);
    if (reply_.objects.size() >= transport::kMaxItems || bytes_ + bytes > kMaxReplyBytes) {
      truncated_ = true;
      return std::nullopt;
    }
    bytes_ += bytes;
    const auto place = static_cast<uint32_t>(reply_.objects.size());
    transport::ObjectRef& object = reply_.Add(view.id, view.header->Head(), view.header->tokens());
    object.where = static_cast<transport::Where>(view.where);
    if (lease && view.where == storage::Where::kMemory) Lease(view, &object);
    index_[view.id] = place;
    return place;
  }

  // Without a lease (a limit) the object is described all the same: Lease may be asked later.
  void Lease(const storage::ObjectView& view, transport::ObjectRef* object) {
    const absl::StatusOr<storage::LeaseId> lease =
        parts_.sessions->Acquire(store_, session_, view, now_, &reply_.blocks);
    if (!lease.ok()) {
      Counters::Bump(parts_.counters->limited);
      return;
    }
    object->lease = *lease;
    object->blocks.count = static_cast<uint32_t>(reply_.blocks.size()) - object->blocks.first;
  }

  const Parts& parts_;
  Store& store_;
  const transport::SessionId session_;
  const FindRequest& request_;
  const absl::Time now_ = parts_.Now();
  FindReply reply_;
  absl::flat_hash_map<storage::ObjectId, uint32_t> index_;
  uint64_t bytes_ = 0;
  bool truncated_ = false;
};

}  // namespace

void HandleFind(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<FindRequest>();
  absl::StatusOr<FindReply> reply =
      parts.store->With([&](Store& store) -> absl::StatusOr<FindReply> {
        for (const transport::LeaseId lease : request.release)
          parts.sessions->Release(store, call->session(), lease);
        if (!request.model.IsZero() && store.FindModel(request.model) == nullptr) {
          return absl::FailedPreconditionError(
              absl::StrCat("model ", request.model.ToHex(),
                           " is not known to this node: register it, then try again"));
        }
        Finder finder(parts, store, call->session(), request);
        finder.Run();
        if (finder.truncated()) Counters::Bump(parts.counters->truncated_finds);
        return finder.Take();
      });
  const bool room_came = !request.release.empty();
  if (reply.ok()) {
    call->Answer(*std::move(reply));
  } else {
    call->Fail(reply.status());
  }
  if (room_came) parts.room->RoomCame();
}

}  // namespace cistern::cacheserver
