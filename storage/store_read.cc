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
          .rank = object.priority};
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

absl::StatusOr<Lease> Store::Acquire(SessionId session, ObjectId id, absl::Time now) {
  Impl& s = *impl_;
  Object* object = s.FindAttached(id);
  if (object == nullptr) return absl::NotFoundError(absl::StrCat("object ", id, " is gone"));
  if (!object->in_memory) {
    return absl::FailedPreconditionError(
        absl::StrCat("object ", id, " is on disk; stage it first"));
  }
  if (s.leases.size() >= s.options.max_leases) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", s.options.max_leases, " leases already"));
  }
  const LeaseId lease = s.next_lease++;
  ++object->leases;
  s.Reprice(object, &VictimBook::Use);
  s.Touch(object, now);
  s.Refile(object);
  s.leases[lease] = HeldLease{.session = session, .object = object, .since = now};
  // Both grow at their end, unless the clock was set back.
  s.leases_by_age.emplace_hint(s.leases_by_age.end(), now, lease);
  absl::btree_set<LeaseId>& held = s.sessions[session].leases;
  held.insert(held.end(), lease);
  return Lease{.id = lease, .blocks = s.Refs(object->blocks)};
}

absl::StatusOr<const HeldLease*> Store::Impl::FindLease(SessionId session, LeaseId id) const {
  const auto it = leases.find(id);
  if (it == leases.end() || it->second.session != session) {
    return absl::FailedPreconditionError(
        absl::StrCat("lease ", id, " is not held by this session"));
  }
  return &it->second;
}

absl::Status Store::Release(SessionId session, LeaseId lease) {
  CISTERN_RETURN_IF_ERROR(impl_->FindLease(session, lease).status());
  impl_->EndLease(lease);
  return absl::OkStatus();
}

void Store::Impl::EndLease(LeaseId id) {
  const auto it = leases.find(id);
  const HeldLease held = it->second;
  leases.erase(it);
  leases_by_age.erase({held.since, id});
  if (const auto session = sessions.find(held.session); session != sessions.end()) {
    session->second.leases.erase(id);
    if (session->second.leases.empty() && session->second.reservations.empty())
      sessions.erase(session);
  }
  --held.object->leases;
  Refile(held.object);
  DestroyIfUnused(held.object);
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
  const Holdings holdings = it->second;
  for (const ReservationId id : holdings.reservations) s.AbortPending(s.pending.at(id).get());
  for (const LeaseId id : holdings.leases) s.EndLease(id);
}

uint64_t Store::ExpireLeases(absl::Time now, absl::Duration max_age,
                             absl::FunctionRef<bool(SessionId, LeaseId)> keep) {
  Impl& s = *impl_;
  std::vector<LeaseId> expired;
  for (const auto& [since, id] : s.leases_by_age) {
    if (now - since <= max_age) break;
    if (!keep(s.leases.at(id).session, id)) expired.push_back(id);
  }
  for (const LeaseId id : expired) s.EndLease(id);
  return expired.size();
}

}  // namespace cistern::storage
