#include "tests/unit/client_lib/fake_node.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/time/clock.h"

#include "tests/unit/client_lib/fake_link.h"

namespace cistern::testing {
namespace {

using base::Key;
using base::Lineage;
using transport::CallOptions;
using transport::ErrorReply;
using transport::Match;
using transport::Where;

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;
constexpr size_t kNeighbours = 4;

uint32_t NumPages(uint32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

Reply Error(const absl::Status& status) { return ErrorReply::From(status); }

// Walks over a list of slices.
class Cursor {
 public:
  template <typename S>
  explicit Cursor(const std::vector<S>& slices) {
    for (const S& slice : slices) {
      at_.push_back({const_cast<std::byte*>(slice.data()), slice.size()});
    }
  }
  uint64_t left() const {
    uint64_t bytes = 0;
    for (const auto& slice : at_) bytes += slice.size();
    return bytes;
  }
  void Copy(std::byte* row, size_t bytes, bool to_slices) {
    while (bytes > 0) {
      const size_t part = std::min(bytes, at_.front().size());
      std::memcpy(to_slices ? at_.front().data() : row, to_slices ? row : at_.front().data(), part);
      row += part;
      bytes -= part;
      at_.front() = at_.front().subspan(part);
      if (at_.front().empty()) at_.pop_front();
    }
  }

 private:
  std::deque<std::span<std::byte>> at_;
};

}  // namespace

FakeNode::FakeNode(const FakeNodeOptions& options) : options_(options), arena_(nullptr, std::free) {
  const uint64_t table = sizeof(base::ArenaHeader);
  const uint64_t slabs = (table + options.num_pages * 4 + 4095) / 4096 * 4096;
  arena_bytes_ = slabs + options.num_pages * options.model.page_bytes();
  arena_.reset(static_cast<std::byte*>(std::calloc(1, arena_bytes_)));
  base::ArenaHeader header{base::kArenaMagic,
                           base::kArenaVersion,
                           options.num_pages,
                           options.incarnation,
                           arena_bytes_,
                           table,
                           slabs};
  std::memcpy(arena_.get(), &header, sizeof(header));
  for (uint32_t i = options.num_pages; i > 0; --i) free_pages_.push_back(i - 1);
  hello_.node_name = "fake";
  hello_.incarnation = options.incarnation;
  hello_.arena_bytes = options.mapped ? arena_bytes_ : 0;
}

std::unique_ptr<transport::Link> FakeNode::Connect() {
  return std::make_unique<FakeLink>(shared_from_this());
}

void FakeNode::SetHeld() {
  base::MutexLock lock(&mutex_);
  held_ = true;
  changed_.notify_all();
}

void FakeNode::AwaitHeld() {
  base::MutexLock lock(&mutex_);
  changed_.wait(mutex_, [this] { return held_; });
  held_ = false;
}

std::map<ObjectId, FakeNode::Stored> FakeNode::objects() {
  base::MutexLock lock(&mutex_);
  std::map<ObjectId, Stored> committed;
  for (const auto& [id, stored] : objects_) {
    if (stored.committed) committed.emplace(id, stored);
  }
  return committed;
}

std::vector<std::byte> FakeNode::StoredRow(ObjectId id, uint32_t layer, uint32_t token) {
  base::MutexLock lock(&mutex_);
  Stored& stored = objects_.at(id);
  const uint64_t row_bytes = options_.model.row_bytes;
  const uint64_t in_page = (uint64_t{layer} * kPageTokens + token % kPageTokens) * row_bytes;
  const uint64_t page = token / kPageTokens;
  const std::byte* row = stored.blocks.empty()
                             ? stored.disk.data() + page * options_.model.page_bytes() + in_page
                             : Row(stored, layer, token);
  return {row, row + row_bytes};
}

size_t FakeNode::num_leases() {
  base::MutexLock lock(&mutex_);
  return leases_.size();
}

size_t FakeNode::num_reservations() {
  base::MutexLock lock(&mutex_);
  return reservations_.size();
}

uint64_t FakeNode::calls(size_t request_index) {
  base::MutexLock lock(&mutex_);
  return calls_[request_index];
}

// ---- Memory

std::vector<base::BlockRef> FakeNode::Allocate(uint32_t tokens) {
  const uint32_t need = NumPages(tokens);
  for (auto it = objects_.begin(); free_pages_.size() < need && it != objects_.end(); ++it) {
    Demote(&it->second);
  }
  std::vector<base::BlockRef> blocks;
  if (free_pages_.size() < need) return blocks;
  const auto* header = reinterpret_cast<const base::ArenaHeader*>(arena_.get());
  for (uint32_t i = 0; i < need; ++i) {
    const uint32_t page = free_pages_.back();
    free_pages_.pop_back();
    blocks.push_back({page, base::ReadGeneration(arena_.get(), page),
                      header->slabs_offset + page * options_.model.page_bytes()});
  }
  return blocks;
}

void FakeNode::Free(std::vector<base::BlockRef>* blocks) {
  auto* table = reinterpret_cast<uint32_t*>(arena_.get() + sizeof(base::ArenaHeader));
  for (const base::BlockRef& block : *blocks) {
    __atomic_add_fetch(&table[block.handle], 1, __ATOMIC_RELEASE);
    free_pages_.push_back(block.handle);
  }
  blocks->clear();
}

bool FakeNode::Demote(Stored* stored) {
  if (!stored->committed || stored->leases > 0 || stored->blocks.empty()) return false;
  const uint64_t page_bytes = options_.model.page_bytes();
  stored->disk.resize(stored->blocks.size() * page_bytes);
  for (size_t i = 0; i < stored->blocks.size(); ++i) {
    std::memcpy(stored->disk.data() + i * page_bytes, Page(stored->blocks[i]), page_bytes);
  }
  Free(&stored->blocks);
  return true;
}

std::byte* FakeNode::Row(const Stored& stored, uint32_t layer, uint32_t token) {
  const uint64_t row_bytes = options_.model.row_bytes;
  return Page(stored.blocks[token / kPageTokens]) +
         (uint64_t{layer} * kPageTokens + token % kPageTokens) * row_bytes;
}

LeaseId FakeNode::NewLease(ObjectId id) {
  const LeaseId lease = next_id_++;
  leases_[lease] = id;
  ++objects_[id].leases;
  return lease;
}

void FakeNode::MoveToDisk(ObjectId id) {
  base::MutexLock lock(&mutex_);
  Demote(&objects_.at(id));
}

void FakeNode::MoveAllToDisk() {
  base::MutexLock lock(&mutex_);
  for (auto& [id, stored] : objects_) Demote(&stored);
}

void FakeNode::Drop(ObjectId id) {
  base::MutexLock lock(&mutex_);
  Free(&objects_.at(id).blocks);
  objects_.erase(id);
  for (auto* map : {&by_content_, &by_context_, &by_parent_}) {
    for (auto& [key, ids] : *map) std::erase(ids, id);
  }
}

void FakeNode::ReuseBlocks(ObjectId id) {
  base::MutexLock lock(&mutex_);
  auto* table = reinterpret_cast<uint32_t*>(arena_.get() + sizeof(base::ArenaHeader));
  for (const base::BlockRef& block : objects_.at(id).blocks) {
    __atomic_add_fetch(&table[block.handle], 1, __ATOMIC_RELEASE);
  }
}

void FakeNode::ChangeTokens(ObjectId id, const std::vector<base::TokenId>& tokens) {
  base::MutexLock lock(&mutex_);
  objects_.at(id).header.tokens = tokens;
}

void FakeNode::SetIncarnation(uint64_t incarnation) {
  auto* header = reinterpret_cast<base::ArenaHeader*>(arena_.get());
  __atomic_store_n(&header->incarnation, incarnation, __ATOMIC_RELEASE);
}

void FakeNode::ForgetModels() {
  base::MutexLock lock(&mutex_);
  models_.clear();
}

// ---- Calls

Reply FakeNode::Serve(const Request& request, const CallOptions& options) {
  {
    base::MutexLock lock(&mutex_);
    ++calls_[request.index()];
  }
  if (const auto hook = intercept.get()) {
    if (auto status = hook(request); status.has_value()) return Error(*status);
  }
  Reply reply = [&] {
    base::MutexLock lock(&mutex_);
    return std::visit([&](const auto& typed) { return On(typed, options); }, request);
  }();
  if (const auto hook = tamper.get()) hook(request, &reply);
  return reply;
}

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
    transport::ObjectRef ref;
    ref.id = id;
    ref.header = stored.header;
    ref.where = stored.blocks.empty() ? Where::kDisk : Where::kMemory;
    reply->objects.push_back(std::move(ref));
  }
  return it->second;
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

Reply FakeNode::On(const transport::FindRequest& request, const CallOptions&) {
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
      if (request.lease && ref.where == Where::kMemory && ref.lease == 0) {
        ref.lease = NewLease(ref.id);
        ref.blocks = objects_.at(ref.id).blocks;
      }
    }
    reply.results.push_back(result);
  }
  if (request.neighbours) AddNeighbours(request, hits, &reply, &index);
  return reply;
}

Reply FakeNode::On(const transport::LeaseRequest& request, const CallOptions&) {
  transport::LeaseReply reply;
  for (ObjectId id : request.objects) {
    transport::LeaseResult result;
    const auto it = objects_.find(id);
    if (it != objects_.end() && it->second.committed) {
      Stored& stored = it->second;
      result.from_disk = stored.blocks.empty();
      if (result.from_disk) {
        stored.blocks = Allocate(stored.header.num_tokens());
        const uint64_t page_bytes = options_.model.page_bytes();
        for (size_t i = 0; i < stored.blocks.size(); ++i) {
          std::memcpy(Page(stored.blocks[i]), stored.disk.data() + i * page_bytes, page_bytes);
        }
      }
      if (stored.blocks.empty()) {
        result.outcome = transport::LeaseOutcome::kNoRoom;
      } else {
        result.outcome = transport::LeaseOutcome::kLeased;
        result.lease = NewLease(id);
        result.blocks = stored.blocks;
      }
    }
    reply.results.push_back(std::move(result));
  }
  return reply;
}

Reply FakeNode::On(const transport::ReleaseRequest& request, const CallOptions&) {
  for (LeaseId lease : request.leases) {
    const auto it = leases_.find(lease);
    if (it == leases_.end()) continue;
    if (const auto object = objects_.find(it->second); object != objects_.end()) {
      --object->second.leases;
    }
    leases_.erase(it);
  }
  return transport::ReleaseReply{};
}

uint64_t FakeNode::ReadBytes(const transport::ReadRequest& request) {
  base::MutexLock lock(&mutex_);
  uint64_t rows = 0;
  for (LeaseId lease : request.leases) {
    const auto it = leases_.find(lease);
    const auto object = it == leases_.end() ? objects_.end() : objects_.find(it->second);
    if (object != objects_.end()) rows += object->second.header.num_tokens();
  }
  return rows * (request.layer_end - request.layer_begin) * options_.model.row_bytes;
}

Reply FakeNode::On(const transport::ReadRequest& request, const CallOptions& options) {
  Cursor out(options.receive);
  transport::ReadReply reply;
  reply.payload_bytes = out.left();
  for (uint32_t layer = request.layer_begin; layer < request.layer_end; ++layer) {
    for (LeaseId lease : request.leases) {
      const auto it = leases_.find(lease);
      if (it == leases_.end() || objects_.count(it->second) == 0) {
        return Error(absl::NotFoundError("no such lease"));
      }
      const Stored& stored = objects_.at(it->second);
      for (uint32_t token = 0; token < stored.header.num_tokens(); ++token) {
        out.Copy(Row(stored, layer, token), options_.model.row_bytes, /*to_slices=*/true);
      }
    }
  }
  if (out.left() != 0) return Error(absl::InvalidArgumentError("the buffer is too large"));
  return reply;
}

// ---- Publishing

Reply FakeNode::On(const transport::ReserveRequest& request, const CallOptions&) {
  transport::ReserveReply reply;
  for (const base::ObjectHeader& header : request.headers) {
    if (models_.count(header.model) == 0) {
      return Error(absl::FailedPreconditionError("unknown model"));
    }
    if (absl::Status valid = header.Validate(); !valid.ok()) return Error(valid);
    transport::ReserveResult result;
    const std::vector<ObjectId>& same = by_content_[header.content];
    const bool had = std::any_of(same.begin(), same.end(), [&](ObjectId id) {
      return objects_.at(id).header.context == header.context;
    });
    if (had) {
      result.outcome = transport::ReserveOutcome::kAlreadyHave;
    } else if (NumPages(header.num_tokens()) > options_.num_pages) {
      result.outcome = transport::ReserveOutcome::kTooLarge;
    } else if (auto blocks = Allocate(header.num_tokens()); !blocks.empty()) {
      const ObjectId id = next_id_++;
      objects_[id].header = header;
      objects_[id].blocks = std::move(blocks);
      result.outcome = transport::ReserveOutcome::kReserved;
      result.reservation = next_id_++;
      reservations_[result.reservation] = id;
    }
    reply.results.push_back(result);
  }
  return reply;
}

Reply FakeNode::On(const transport::WriteRequest& request, const CallOptions& options) {
  Cursor in(options.send);
  for (uint32_t layer = request.layer_begin; layer < request.layer_end; ++layer) {
    for (ReservationId reservation : request.reservations) {
      const auto it = reservations_.find(reservation);
      if (it == reservations_.end()) return Error(absl::NotFoundError("no such reservation"));
      Stored& stored = objects_.at(it->second);
      stored.layers_written.insert(layer);
      for (uint32_t token = 0; token < stored.header.num_tokens(); ++token) {
        in.Copy(Row(stored, layer, token), options_.model.row_bytes, /*to_slices=*/false);
      }
    }
  }
  return transport::WriteReply{};
}

Reply FakeNode::On(const transport::CommitRequest& request, const CallOptions&) {
  transport::CommitReply reply;
  for (ReservationId reservation : request.reservations) {
    const auto it = reservations_.find(reservation);
    if (it == reservations_.end()) continue;
    const ObjectId id = it->second;
    Stored& stored = objects_.at(id);
    if (stored.layers_written.size() != options_.model.num_layers) {
      return Error(absl::FailedPreconditionError("a layer was never written"));
    }
    reservations_.erase(it);
    stored.committed = true;
    by_content_[stored.header.content].push_back(id);
    by_context_[stored.header.context].push_back(id);
    by_parent_[stored.header.parent_context].push_back(id);
    ++reply.committed;
  }
  return reply;
}

Reply FakeNode::On(const transport::AbortRequest& request, const CallOptions&) {
  for (ReservationId reservation : request.reservations) {
    const auto it = reservations_.find(reservation);
    if (it == reservations_.end()) continue;
    Free(&objects_.at(it->second).blocks);
    objects_.erase(it->second);
    reservations_.erase(it);
  }
  return transport::AbortReply{};
}

Reply FakeNode::On(const transport::LinkRequest& request, const CallOptions&) {
  transport::LinkReply reply;
  for (const transport::LinkItem& item : request.items) {
    const auto it = objects_.find(item.object);
    if (it == objects_.end() || !it->second.committed) continue;
    it->second.links.emplace_back(item.context, item.parent_context);
    by_context_[item.context].push_back(item.object);
    by_parent_[item.parent_context].push_back(item.object);
    ++reply.linked;
  }
  return reply;
}

}  // namespace cistern::testing
