// Find, lease, link.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

constexpr size_t kMaxChildrenScanned = 256;  // however many continue a context
constexpr size_t kMaxLogsScanned = 4096;     // however many continue a state

bool Serves(const Object& object, bool lossless) {
  return !lossless || object.header.lineage() == base::Lineage::kExact;
}

// State is a function of the whole past: no other context's will do.
bool ServesOthers(const Object& object, bool lossless) {
  return !base::IsState(object.header.kind()) && Serves(object, lossless);
}

// Of two variants, which one a reader in another context would rather have.
bool Better(const Object& a, const Object& b) {
  const auto exact = [](const Object& o) { return o.header.lineage() == base::Lineage::kExact; };
  const auto unrotated = [](const Object& o) {
    return o.header.form()->encoding == base::RotaryEncoding::kUnrotated;
  };
  if (exact(a) != exact(b)) return exact(a);
  if (a.in_memory != b.in_memory) return a.in_memory;
  if (unrotated(a) != unrotated(b)) return unrotated(a);
  return a.id > b.id;
}

}  // namespace

ObjectView Store::Impl::ViewOf(const Object& object) const {
  return {.id = object.id,
          .header = &object.header,
          .where = object.in_memory ? Where::kMemory : Where::kDisk,
          .on_disk = object.on_disk,
          .rank = object.priority,
          .slot = object.slot};
}

ObjectView Store::Describe(ObjectId id) const {
  const Object* object = impl_->FindAttached(id);
  return object == nullptr ? ObjectView{} : impl_->ViewOf(*object);
}

Found Store::Find(const FindQuery& query) {
  Impl& s = *impl_;
  ++s.stats.finds;
  const ContentIndex::Variants variants = s.index.VariantsOf(query.content);
  for (const Object* object : variants) {
    if (object->header.context != query.context || !Serves(*object, query.lossless)) continue;
    ++s.stats.exact_hits;
    return {
        .object = s.ViewOf(*object), .match = Match::kExact, .lineage = object->header.lineage()};
  }
  if (!variants.empty() && !query.lossless) {
    if (const Object* linked = s.index.Linked(query.content, query.context); linked != nullptr) {
      ++s.stats.exact_hits;
      return {.object = s.ViewOf(*linked),
              .match = Match::kExact,
              .lineage = base::Lineage::kApproximate};
    }
  }
  const Object* best = nullptr;
  if (query.accept_content) {
    for (const Object* object : variants) {
      if (ServesOthers(*object, query.lossless) && (best == nullptr || Better(*object, *best)))
        best = object;
    }
  }
  if (best == nullptr) {
    ++s.stats.misses;
    return {};
  }
  ++s.stats.content_hits;
  return {.object = s.ViewOf(*best), .match = Match::kContent, .lineage = best->header.lineage()};
}

Found Store::ByContext(const base::Key& context, bool lossless) const {
  // The newest, but no link instead of its own.
  for (const Object* object : impl_->index.EndingAt(context)) {
    if (!Serves(*object, lossless)) continue;
    return {.object = impl_->ViewOf(*object),
            .match = Match::kExact,
            .lineage = object->header.lineage()};
  }
  const std::span<const ContextEntry> linked = impl_->index.LinkedTo(context);
  if (lossless || linked.empty()) return {};
  return {.object = impl_->ViewOf(*linked.back().object),
          .match = Match::kExact,
          .lineage = base::Lineage::kApproximate};
}

std::vector<Found> Store::Children(const base::Key& context, bool lossless) const {
  std::vector<Found> found;
  size_t scanned = 0;
  impl_->index.ForEachChild(context, [&](const ContextEntry& entry) {
    if (found.size() >= impl_->options.neighbours_per_gap || ++scanned > kMaxChildrenScanned)
      return false;
    if (!Serves(*entry.object, lossless) || (lossless && entry.link)) return true;
    const bool seen = std::any_of(found.begin(), found.end(),
                                  [&](const Found& f) { return f.object.id == entry.object->id; });
    if (seen) return true;
    found.push_back(
        {.object = impl_->ViewOf(*entry.object),
         .match = Match::kExact,
         .lineage = entry.link ? base::Lineage::kApproximate : entry.object->header.lineage()});
    return true;
  });
  return found;
}

std::vector<ObjectView> Store::CheckpointsFrom(const base::Key& context, size_t max_states) const {
  std::vector<ObjectView> found;
  for (const Object* object : impl_->index.CheckpointsFrom(context)) {
    if (found.size() >= max_states) break;
    found.push_back(impl_->ViewOf(*object));
  }
  return found;
}

std::vector<ObjectView> Store::LogsFrom(const base::Key& context, uint32_t position,
                                        size_t max_states) const {
  std::vector<ObjectView> found;
  size_t scanned = 0;
  for (const Object* object : impl_->index.LogsFrom(context)) {
    if (found.size() >= max_states || ++scanned > kMaxLogsScanned) break;
    if (object->header.base_position == position) found.push_back(impl_->ViewOf(*object));
  }
  return found;
}

absl::Status Store::Link(ObjectId id, const base::Key& context, const base::Key& parent_context) {
  Impl& s = *impl_;
  Object* object = s.FindAttached(id);
  if (object == nullptr) return absl::NotFoundError(absl::StrCat("object ", id, " is gone"));
  if (object->header.kind() != base::ObjectKind::kSegment || context.IsZero()) {
    return absl::InvalidArgumentError(
        "only a segment can serve another context, and the context key must not be zero");
  }
  if (s.index.Exact(object->header.content, context) != nullptr) return absl::OkStatus();
  for (const ContextLink& link : s.index.LinksOf(*object)) {
    if (link.context == context) return absl::OkStatus();
  }
  if (s.options.links_per_object == 0) return absl::OkStatus();
  while (s.index.LinksOf(*object).size() >= s.options.links_per_object)
    s.index.RemoveLink(object, 0);
  s.index.AddLink(
      object,
      {.context = context, .parent_context = parent_context, .sequence = s.next_sequence++});
  return absl::OkStatus();
}

absl::StatusOr<LeaseId> Store::Impl::Acquire(SessionId session, Object* object, absl::Time now) {
  if (!object->in_memory) {
    return absl::FailedPreconditionError(
        absl::StrCat("object ", object->id, " is on disk; stage it first"));
  }
  if (leases.size() >= options.max_leases || leases.full()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", leases.size(), " leases already"));
  }
  const bool first = object->leases++ == 0;
  Reprice(object, &VictimBook::Use);
  Touch(object, now);
  if (first) {
    Refile(object);
  } else {
    object->repriced = false;  // in use: it is filed under no price
  }
  return leases.Add(&sessions[session].leases, session, object, now);
}

absl::StatusOr<Lease> Store::Acquire(SessionId session, ObjectId id, absl::Time now) {
  Object* object = impl_->FindAttached(id);
  if (object == nullptr) return absl::NotFoundError(absl::StrCat("object ", id, " is gone"));
  CISTERN_ASSIGN_OR_RETURN(const LeaseId lease, impl_->Acquire(session, object, now));
  return Lease{.id = lease, .blocks = impl_->Refs(object->blocks)};
}

absl::StatusOr<LeaseId> Store::Acquire(SessionId session, const ObjectView& view, absl::Time now,
                                       std::vector<base::BlockRef>* blocks) {
  Object* object = impl_->objects.At(view.slot);
  if (object == nullptr || object->id != view.id || object->detached)
    return absl::NotFoundError(absl::StrCat("object ", view.id, " is gone"));
  CISTERN_ASSIGN_OR_RETURN(const LeaseId lease, impl_->Acquire(session, object, now));
  impl_->AppendRefs(object->blocks, blocks);
  return lease;
}

absl::StatusOr<const HeldLease*> Store::Impl::FindLease(SessionId session, LeaseId id) const {
  const HeldLease* const held = leases.Find(id);
  if (held == nullptr || held->session != session) {
    return absl::FailedPreconditionError(
        absl::StrCat("lease ", id, " is not held by this session"));
  }
  return held;
}

bool Store::Holds(SessionId session, LeaseId lease) const {
  const HeldLease* const held = impl_->leases.Find(lease);
  return held != nullptr && held->session == session;
}

uint32_t Store::CountLeases(SessionId session) const {
  const auto it = impl_->sessions.find(session);
  return it == impl_->sessions.end() ? 0 : it->second.leases.size;
}

absl::Status Store::Release(SessionId session, LeaseId lease) {
  CISTERN_ASSIGN_OR_RETURN(const HeldLease* held, impl_->FindLease(session, lease));
  impl_->EndLease(*held);
  return absl::OkStatus();
}

void Store::Impl::EndLease(const HeldLease& held) {
  Object* const object = held.object;
  const auto session = sessions.find(held.session);
  leases.Remove(&session->second.leases, held.id);
  if (session->second.empty()) sessions.erase(session);
  if (--object->leases > 0) return;
  Refile(object);
  DestroyIfUnused(object);
}

absl::StatusOr<const StoredHeader*> Store::LeasedHeader(SessionId session, LeaseId lease) const {
  CISTERN_ASSIGN_OR_RETURN(const HeldLease* held, impl_->FindLease(session, lease));
  return &held->object->header;
}

absl::StatusOr<std::vector<base::BlockRef>> Store::LeasedBlocks(SessionId session,
                                                                LeaseId lease) const {
  CISTERN_ASSIGN_OR_RETURN(const HeldLease* held, impl_->FindLease(session, lease));
  return impl_->Refs(held->object->blocks);
}

void Store::CloseSession(SessionId session) {
  Impl& s = *impl_;
  const auto it = s.sessions.find(session);
  if (it == s.sessions.end()) return;
  const absl::btree_set<ReservationId> reservations = it->second.reservations;
  const HeldLease* lease = s.leases.First(it->second.leases);
  for (const ReservationId id : reservations) s.AbortPending(s.pending.at(id).get());
  while (lease != nullptr) {
    const HeldLease* const next = s.leases.NextOfSession(*lease);
    s.EndLease(*lease);
    lease = next;
  }
}

uint64_t Store::ExpireLeases(absl::Time now, absl::Duration max_age,
                             absl::FunctionRef<bool(SessionId, LeaseId)> keep) {
  Impl& s = *impl_;
  uint64_t expired = 0;
  const HeldLease* lease = s.leases.Oldest();
  while (lease != nullptr && now - lease->since > max_age) {
    const HeldLease* const next = s.leases.NextByAge(*lease);
    if (!keep(lease->session, lease->id)) {
      s.EndLease(*lease);
      ++expired;
    }
    lease = next;
  }
  return expired;
}

}  // namespace cistern::storage
