// Models, selectors, statistics.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/store_impl.h"

namespace cistern::storage {

Store::Store(const StoreOptions& options, Arena* arena)
    : impl_(std::make_unique<Impl>(options, arena)) {}
Store::~Store() = default;

absl::Status Store::RegisterModel(const base::ModelSpec& spec) {
  CISTERN_RETURN_IF_ERROR(spec.Validate());
  const base::Key fingerprint = spec.Fingerprint();
  const uint64_t registered = impl_->next_registration++;
  if (const auto it = impl_->models.find(fingerprint); it != impl_->models.end()) {
    it->second->registered = registered;
    return absl::OkStatus();
  }
  if (impl_->models.size() >= impl_->options.max_models && !impl_->ForgetModel()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this node holds objects of ", impl_->options.max_models,
                     " models, which is its limit: evict those of a model that is not used"));
  }
  impl_->models[fingerprint] =
      std::make_unique<KnownModel>(KnownModel{.spec = spec, .registered = registered});
  return absl::OkStatus();
}

bool Store::Impl::ForgetModel() {
  auto oldest = models.end();
  for (auto it = models.begin(); it != models.end(); ++it) {
    if (it->second->users > 0) continue;
    if (oldest == models.end() || it->second->registered < oldest->second->registered) oldest = it;
  }
  if (oldest == models.end()) return false;
  models.erase(oldest);
  return true;
}

// Blobs have no model.
void Store::Impl::BeginUse(const base::Key& model) {
  if (const auto it = models.find(model); it != models.end()) ++it->second->users;
}

void Store::Impl::EndUse(const base::Key& model) {
  if (const auto it = models.find(model); it != models.end()) --it->second->users;
}

const base::ModelSpec* Store::FindModel(const base::Key& fingerprint) const {
  return impl_->ModelOf(fingerprint);
}

std::vector<const base::ModelSpec*> Store::Models() const {
  std::vector<const base::ModelSpec*> models;
  models.reserve(impl_->models.size());
  for (const auto& [fingerprint, known] : impl_->models) models.push_back(&known->spec);
  return models;
}

const base::ModelSpec* Store::Impl::ModelOf(const base::Key& fingerprint) const {
  const auto it = models.find(fingerprint);
  return it == models.end() ? nullptr : &it->second->spec;
}

Object* Store::Impl::FindAny(ObjectId id) const { return objects.Find(id); }

Object* Store::Impl::FindAttached(ObjectId id) const {
  Object* object = FindAny(id);
  return object == nullptr || object->detached ? nullptr : object;
}

bool Store::Impl::Matches(const Selector& selector, const Object& object) const {
  const StoredHeader& header = object.header;
  if (object.detached) return false;
  const bool restricts = selector.object != 0 || !selector.key.IsZero() ||
                         !selector.model.IsZero() || selector.has_tenant;
  if (!restricts) return selector.all;
  if (selector.object != 0 && object.id != selector.object) return false;
  if (!selector.key.IsZero() && header.content != selector.key && header.context != selector.key)
    return false;
  if (!selector.model.IsZero() && header.model() != selector.model) return false;
  return !selector.has_tenant || header.tenant() == selector.tenant;
}

// In id order. With a key or an object it is a look-up, otherwise a walk over all objects.
std::vector<Object*> Store::Impl::Select(const Selector& selector) const {
  std::vector<Object*> selected;
  auto consider = [&](Object* object) {
    if (Matches(selector, *object)) selected.push_back(object);
  };
  if (selector.object != 0) {
    if (Object* const object = FindAny(selector.object); object != nullptr) consider(object);
    return selected;
  }
  if (selector.key.IsZero()) {
    for (Object* object : objects) consider(object);
    return selected;
  }
  for (Object* object : index.VariantsOf(selector.key)) consider(object);
  for (Object* object : index.EndingAt(selector.key)) consider(object);
  for (Object* object : index.StatesAt(selector.key)) consider(object);
  std::sort(selected.begin(), selected.end(),
            [](const Object* a, const Object* b) { return a->id < b->id; });
  selected.erase(std::unique(selected.begin(), selected.end()), selected.end());
  return selected;
}

uint64_t Store::Evict(const Selector& selector) {
  uint64_t gone = 0;
  std::vector<ObjectId> ids;
  for (const Object* object : impl_->Select(selector)) ids.push_back(object->id);
  for (const ObjectId id : ids) {
    Object* const object = impl_->FindAttached(id);
    if (object == nullptr || object->pinned || object->leases > 0) continue;
    ++gone;
    if (object->busy()) {
      object->doomed = true;
    } else {
      impl_->Drop(object);
    }
  }
  return gone;
}

uint64_t Store::SetPinned(const Selector& selector, bool pinned) {
  const std::vector<Object*> selected = impl_->Select(selector);
  for (Object* object : selected) {
    object->pinned = pinned;
    if (pinned) object->doomed = false;
    impl_->Refile(object);
  }
  return selected.size();
}

ObjectId Store::List(
    const Selector& selector, ObjectId cursor, uint32_t limit,
    absl::FunctionRef<void(const ObjectView&, bool pinned, uint32_t leases, double value)> each)
    const {
  uint32_t listed = 0;
  for (auto it = impl_->objects.From(cursor); it != impl_->objects.end(); ++it) {
    const Object& object = **it;
    if (!impl_->Matches(selector, object)) continue;
    if (listed++ == limit) return object.id;
    each(impl_->ViewOf(object), object.pinned, object.leases,
         static_cast<double>(impl_->book.Value(object)));
  }
  return 0;
}

StoreStats Store::Stats() const {
  const Impl& s = *impl_;
  StoreStats stats = s.stats;
  stats.arena_bytes = s.pools.arena_bytes();
  stats.used_bytes = s.pools.used_bytes();
  stats.free_bytes = s.pools.free_bytes();
  stats.remainder_bytes = s.pools.remainder_bytes();
  stats.leases = s.leases.size();
  stats.reservations = s.pending.size();
  stats.links = s.index.num_links();
  stats.draining = s.draining;
  stats.tenants.reserve(s.tenants.all().size());
  for (const Tenancy& tenancy : s.tenants.all()) stats.tenants.push_back(tenancy.stats);
  for (PoolId id = 0; id < s.pools.num_pools(); ++id) {
    const PoolCounts& counts = s.pools.counts(id);
    stats.pools.push_back({.block_bytes = counts.block_bytes,
                           .slabs = counts.slabs,
                           .blocks_used = counts.blocks_used,
                           .blocks_free = counts.blocks_free});
  }
  return stats;
}

}  // namespace cistern::storage
