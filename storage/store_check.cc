// What must always hold of the store. Slow: it walks over everything.
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

absl::Status Broken(absl::string_view what, uint64_t id, absl::string_view how) {
  return absl::InternalError(absl::StrCat(what, " ", id, ": ", how));
}

}  // namespace

absl::Status Store::Impl::CheckObject(const Object& o) const {
  const auto broken = [&](absl::string_view how) { return Broken("object", o.id, how); };
  const bool holds_blocks = o.in_memory || o.staging;
  if (o.blocks.size() != (holds_blocks ? o.header.num_blocks() : 0))
    return broken("it holds the wrong number of blocks");
  if (o.in_memory && o.staging) return broken("it is staged though it is in memory");
  if (o.demoting && !o.in_memory) return broken("it is demoted from nowhere");
  if (!o.detached && !o.in_memory && !o.on_disk) return broken("it is nowhere");
  if (o.detached && (o.on_disk || !o.in_use())) return broken("it is detached and nobody uses it");
  if (o.doomed && !o.detached && !o.busy()) return broken("it is doomed and still there");
  if (o.filed_movable != MayMove(o) || o.filed_evictable != MayEvict(o) ||
      o.filed_dirty != ShouldDemote(o) || o.repriced) {
    return broken("it is filed wrongly");
  }
  if (o.filed_resident != (o.in_memory && !o.detached))
    return broken("it is not where it is filed");
  const Rung rung = o.filed_evictable ? RungOf(o) : Rung::kNone;
  if (o.listed_rung != rung) return broken("it is listed as a victim of another kind, or of none");
  if (!o.detached && o.children != CountChildren(o)) return broken("its children are miscounted");
  if (o.rule() != tenants.RuleOf(o.header.tenant())) return broken("it counts for another tenant");
  if (o.filed_dirty && !tenants.all()[o.rule()].dirty.map().contains({o.priority, o.id}))
    return broken("it is not listed as dirty");
  if (o.set_aside != set_aside.contains(o.id)) return broken("set aside or not?");
  for (const Handle handle : o.blocks) {
    if (!pools.table().IsLive(handle)) return broken("one of its handles is not live");
    const PageEntry& entry = pools.table().at(handle);
    if (entry.owner != o.slot) return broken("one of its blocks belongs to somebody else");
    if ((entry.movable != 0) != o.filed_movable)
      return broken("a block may be moved, or may not, against its state");
    if (entry.priority != (o.filed_evictable ? BlockPriority(o) : 0))
      return broken("a block's value is not its own");
  }
  if (o.detached) return absl::OkStatus();
  if (o.header.kind() == base::ObjectKind::kLog && JudgesLogs() && !HasBase(PassageOf(o.header)))
    return broken("it is a log without the state that it needs");
  if (index.Exact(o.header.content, o.header.context) != &o)
    return broken("the index does not find it");
  if (base::IsState(o.header.kind()) && !index.LinksOf(o).empty())
    return broken("it is state, and linked");
  for (const ContextLink& link : index.LinksOf(o)) {
    bool found = false;
    for (const ContextEntry& entry : index.LinkedTo(link.context))
      found |= entry.sequence == link.sequence;
    if (!found) return broken("the index does not find a link of it");
  }
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckPending() const {
  size_t named = 0;
  for (const auto& [id, p] : pending) {
    for (const Handle handle : p->blocks) {
      if (!pools.table().IsLive(handle) || pools.table().at(handle).owner != 0 ||
          pools.table().at(handle).priority != 0) {
        return Broken("reservation", id, "one of its blocks is not its own");
      }
    }
    uint32_t left = 0;
    for (const bool written : p->written) left += written ? 0 : 1;
    if (left != p->layers_left) return Broken("reservation", id, "its layers are miscounted");
    if (p->aborted) {
      if (p->writers == 0) return Broken("reservation", id, "it was aborted and nobody writes");
      continue;
    }
    const auto it = being_written.find(KeyOf(p->header));
    if (it == being_written.end() || it->second != id)
      return Broken("reservation", id, "its name is not taken");
    const auto session = sessions.find(p->session);
    if (session == sessions.end() || !session->second.reservations.contains(id)) {
      return Broken("reservation", id, "its session does not know it");
    }
    ++named;
  }
  if (named != being_written.size())
    return absl::InternalError("a name is taken for no reservation");
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckSessions() const {
  size_t held_leases = 0;
  for (const auto& [id, holdings] : sessions) {
    if (holdings.empty()) return Broken("session", id, "it holds nothing");
    size_t listed = 0;
    for (const HeldLease* lease = leases.First(holdings.leases); lease != nullptr;
         lease = leases.NextOfSession(*lease)) {
      ++listed;
      if (lease->session != id) return Broken("session", id, "a lease is not its own");
    }
    if (listed != holdings.leases.size) return Broken("session", id, "its leases are miscounted");
    for (const ReservationId reservation : holdings.reservations) {
      const auto it = pending.find(reservation);
      if (it == pending.end() || it->second->session != id) {
        return Broken("session", id, "a reservation is not its own");
      }
    }
    held_leases += holdings.leases.size;
  }
  size_t by_age = 0;
  absl::flat_hash_map<const Object*, uint32_t> count;
  for (const HeldLease* lease = leases.Oldest(); lease != nullptr;
       lease = leases.NextByAge(*lease)) {
    ++by_age;
    if (leases.Find(lease->id) != lease) return Broken("lease", lease->id, "it cannot be found");
    const HeldLease* const next = leases.NextByAge(*lease);
    if (next != nullptr && next->since < lease->since)
      return Broken("lease", lease->id, "a younger one is listed before it");
    ++count[lease->object];
  }
  if (held_leases != leases.size() || by_age != leases.size())
    return absl::InternalError("leases: sessions and ages do not cover them");
  for (const Object* object : objects) {
    const auto it = count.find(object);
    if (object->leases != (it == count.end() ? 0 : it->second))
      return Broken("object", object->id, "its leases are miscounted");
  }
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckIndex() const {
  size_t attached = 0;
  size_t links = 0;
  size_t entries = 0;
  size_t children = 0;
  for (const Object* o : objects) {
    if (o->detached) continue;
    ++attached;
    if (o->header.kind() == base::ObjectKind::kBlob) continue;
    links += index.LinksOf(*o).size();
    entries += 1 + index.LinksOf(*o).size();
    children += o->header.parent_context.IsZero() ? 0 : 1;
    for (const ContextLink& link : index.LinksOf(*o))
      children += link.parent_context.IsZero() ? 0 : 1;
    if (index.LinksOf(*o).size() > options.links_per_object)
      return Broken("object", o->id, "it has too many links");
  }
  if (attached != index.num_objects() || links != index.num_links() ||
      entries != index.num_context_entries() || children != index.num_children()) {
    return absl::InternalError("index: it holds more or less than the objects and links there are");
  }
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckQueues() const {
  size_t evictable = 0;
  size_t unsaved = 0;
  size_t queued = 0;
  uint64_t demoting = 0;
  uint64_t blocks = 0;
  StoreStats gauges;
  for (const Object* o : objects) {
    evictable += o->filed_evictable ? 1 : 0;
    unsaved += o->filed_dirty ? 1 : 0;
    demoting += o->demoting ? BlockBytes(*o) : 0;
    blocks += o->blocks.size();
    if (o->detached) continue;
    gauges.objects_memory += o->in_memory ? 1 : 0;
    gauges.objects_disk += o->on_disk ? 1 : 0;
    gauges.dirty_bytes += o->in_memory && !o->on_disk ? o->header.payload_bytes() : 0;
    gauges.pinned_objects += o->pinned ? 1 : 0;
    gauges.pinned_bytes += o->pinned && o->in_memory ? o->header.payload_bytes() : 0;
    const auto last_use = last_uses.find(o->id);
    const bool is_listed =
        last_use != last_uses.end() && by_last_use.contains({last_use->second, o->id});
    if (is_listed != expires()) return Broken("object", o->id, "its last use is not listed");
  }
  for (const Tenancy& tenancy : tenants.all()) queued += tenancy.dirty.map().size();
  if (queued != unsaved || book.listed() != evictable || book.size() != gauges.objects_memory)
    return absl::InternalError("queues: they list too much");
  if (demoting != demoting_bytes)
    return absl::InternalError("queues: bytes on their way to disk are miscounted");
  if (gauges.objects_memory != stats.objects_memory || gauges.objects_disk != stats.objects_disk ||
      gauges.dirty_bytes != stats.dirty_bytes || gauges.pinned_objects != stats.pinned_objects ||
      gauges.pinned_bytes != stats.pinned_bytes) {
    return absl::InternalError("statistics: the gauges are wrong");
  }
  for (const auto& [id, p] : pending) blocks += p->blocks.size();
  if (blocks != pools.table().live()) return absl::InternalError("blocks: some belong to nobody");
  if (record_drops.size() != record_drop_keys.size())
    return absl::InternalError("record drops: miscounted");
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckTenants() const {
  std::vector<Tenancy> expected(tenants.all().size());
  for (const Object* o : objects) {
    Tenancy& tenancy = expected[o->rule()];
    const uint64_t held = o->blocks.empty() ? 0 : BlockBytes(*o);
    tenancy.stats.used_bytes += held;
    tenancy.evictable_bytes += MayEvict(*o) ? held : 0;
    tenancy.demoting_bytes += o->demoting ? held : 0;
    tenancy.unsaved_bytes += o->counted_dirty ? o->header.payload_bytes() : 0;
    tenancy.stats.objects_memory += o->in_memory && !o->detached ? 1 : 0;
  }
  for (const auto& [id, p] : pending)
    expected[p->rule].stats.used_bytes +=
        p->blocks.size() * pools.counts(p->shape.pool).stride_bytes;
  for (size_t rule = 0; rule < expected.size(); ++rule) {
    const Tenancy& is = tenants.all()[rule];
    const Tenancy& want = expected[rule];
    if (is.stats.used_bytes != want.stats.used_bytes ||
        is.evictable_bytes != want.evictable_bytes || is.demoting_bytes != want.demoting_bytes ||
        is.unsaved_bytes != want.unsaved_bytes ||
        is.stats.objects_memory != want.stats.objects_memory) {
      return Broken("tenant rule", rule, "what its tenants hold is miscounted");
    }
    if (is.has_quota() && is.stats.used_bytes > is.quota_bytes())
      return Broken("tenant rule", rule, "its tenants hold more than their quota");
  }
  return absl::OkStatus();
}

absl::Status Store::Impl::CheckModels() const {
  absl::flat_hash_map<base::Key, uint64_t> users;
  size_t arrays = 0;
  for (const Object* o : objects) {
    ++users[o->header.model()];
    const bool blob = o->header.kind() == base::ObjectKind::kBlob;
    if (blob || o->header.num_tokens() > 0) ++arrays;
  }
  if (arrays != forms.words().arrays())
    return absl::InternalError("there are more or fewer arrays of words than headers have");
  for (const auto& [id, p] : pending) ++users[p->header.model];
  for (const auto& [fingerprint, known] : models) {
    if (known->users != users[fingerprint])
      return absl::InternalError(
          absl::StrCat("model ", fingerprint.ToHex(), ": its users are miscounted"));
    users.erase(fingerprint);
  }
  users.erase(base::Key{});  // blobs
  if (!users.empty()) return absl::InternalError("an object is of a model that is not known");
  return absl::OkStatus();
}

absl::Status Store::CheckObjects(ObjectId cursor, uint32_t limit, ObjectId* next) const {
  const Impl& s = *impl_;
  *next = 0;
  for (auto it = s.objects.From(cursor); it != s.objects.end(); ++it) {
    if (limit-- == 0) {
      *next = (*it)->id;
      break;
    }
    CISTERN_RETURN_IF_ERROR(s.CheckObject(**it));
  }
  return absl::OkStatus();
}

absl::Status Store::CheckInvariants() const {
  const Impl& s = *impl_;
  CISTERN_RETURN_IF_ERROR(s.pools.CheckInvariants());
  for (const Object* object : s.objects) CISTERN_RETURN_IF_ERROR(s.CheckObject(*object));
  CISTERN_RETURN_IF_ERROR(s.CheckModels());
  CISTERN_RETURN_IF_ERROR(s.CheckPending());
  CISTERN_RETURN_IF_ERROR(s.CheckSessions());
  CISTERN_RETURN_IF_ERROR(s.CheckIndex());
  CISTERN_RETURN_IF_ERROR(s.CheckTenants());
  return s.CheckQueues();
}

}  // namespace cistern::storage
