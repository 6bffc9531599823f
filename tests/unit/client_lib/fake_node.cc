#include "tests/unit/client_lib/fake_node.h"

#include <cstdlib>
#include <cstring>
#include <utility>

#include "tests/unit/client_lib/fake_link.h"
#include "tests/unit/client_lib/fake_node_parts.h"

namespace cistern::testing {

using transport::CallOptions;

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

uint64_t FakeNode::num_released() {
  base::MutexLock lock(&mutex_);
  return num_released_;
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

std::vector<base::BlockRef> FakeNode::Allocate(uint32_t need) {
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

}  // namespace cistern::testing
