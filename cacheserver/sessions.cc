#include "cacheserver/sessions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::cacheserver {

using storage::Store;

absl::StatusOr<Sessions::Session*> Sessions::Find(Id id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second.closing)
    return absl::CancelledError("the session has been closed");
  return &it->second;
}

void Sessions::Open(Store& /*store*/, Id id, const transport::SessionInfo& info, absl::Time now) {
  Session& session = sessions_[id];
  session.info = info;
  session.opened = now;
}

void Sessions::Close(Store& store, Id id) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  it->second.closing = true;
  if (it->second.reads.empty()) FinishClose(store, id);
}

void Sessions::FinishClose(Store& store, Id id) {
  store.CloseSession(id);
  sessions_.erase(id);
}

const transport::SessionInfo* Sessions::Info(Store& /*store*/, Id id) const {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : &it->second.info;
}

absl::StatusOr<storage::Lease> Sessions::Acquire(Store& store, Id id, storage::ObjectId object,
                                                 absl::Time now) {
  CISTERN_RETURN_IF_ERROR(CheckLeases(store, id));
  return store.Acquire(id, object, now);
}

absl::StatusOr<storage::LeaseId> Sessions::Acquire(Store& store, Id id,
                                                   const storage::ObjectView& object,
                                                   absl::Time now,
                                                   std::vector<base::BlockRef>* blocks) {
  CISTERN_RETURN_IF_ERROR(CheckLeases(store, id));
  return store.Acquire(id, object, now, blocks);
}

// Whether the session may have one more.
absl::Status Sessions::CheckLeases(const Store& store, Id id) {
  CISTERN_RETURN_IF_ERROR(Find(id).status());
  if (store.CountLeases(id) < limits_.leases) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("this session holds ", limits_.leases, " leases, its limit: release some"));
}

void Sessions::Release(Store& store, Id id, storage::LeaseId lease) {
  absl::StatusOr<Session*> session = Find(id);
  if (!session.ok() || !store.Holds(id, lease)) return;
  if ((*session)->reads.contains(lease)) {
    (*session)->release_when_read.insert(lease);
    return;
  }
  store.Release(id, lease).IgnoreError();  // it is held
}

absl::StatusOr<storage::Reservation> Sessions::Reserve(Store& store, Id id,
                                                       const base::ObjectHeader& header,
                                                       absl::Time now) {
  CISTERN_ASSIGN_OR_RETURN(Session * session, Find(id));
  if (session->reservations.size() >= limits_.reservations) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this session holds ", limits_.reservations,
                     " reservations, its limit: commit or abort some"));
  }
  CISTERN_ASSIGN_OR_RETURN(storage::Reservation reservation, store.Reserve(id, header, now));
  if (reservation.outcome == storage::Reservation::Outcome::kReserved)
    session->reservations[reservation.id] = now;
  return reservation;
}

absl::StatusOr<storage::ObjectId> Sessions::Commit(Store& store, Id id,
                                                   storage::ReservationId reservation,
                                                   absl::Time now) {
  CISTERN_ASSIGN_OR_RETURN(Session * session, Find(id));
  absl::StatusOr<storage::ObjectId> object = store.Commit(id, reservation, now);
  // NotFound: a log whose base is gone; the store has given the reservation up.
  if (object.ok() || absl::IsNotFound(object.status())) session->reservations.erase(reservation);
  return object;
}

absl::Status Sessions::Abort(Store& store, Id id, storage::ReservationId reservation) {
  CISTERN_ASSIGN_OR_RETURN(Session * session, Find(id));
  CISTERN_RETURN_IF_ERROR(store.Abort(id, reservation));
  session->reservations.erase(reservation);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<HeldObject>> Sessions::BeginRead(
    Store& store, Id id, const std::vector<storage::LeaseId>& leases) {
  CISTERN_ASSIGN_OR_RETURN(Session * session, Find(id));
  std::vector<HeldObject> held;
  held.reserve(leases.size());
  for (const storage::LeaseId lease : leases) {
    if (!store.Holds(id, lease) || session->release_when_read.contains(lease)) {
      return absl::FailedPreconditionError(
          absl::StrCat("lease ", lease, " is not held by this session: lease the object again"));
    }
    CISTERN_ASSIGN_OR_RETURN(const storage::StoredHeader* header, store.LeasedHeader(id, lease));
    CISTERN_ASSIGN_OR_RETURN(std::vector<base::BlockRef> blocks, store.LeasedBlocks(id, lease));
    held.push_back({header, std::move(blocks)});
  }
  for (const storage::LeaseId lease : leases) ++session->reads[lease];
  return held;
}

void Sessions::EndRead(Store& store, Id id, const std::vector<storage::LeaseId>& leases) {
  const auto it = sessions_.find(id);
  if (it == sessions_.end()) return;
  Session& session = it->second;
  for (const storage::LeaseId lease : leases) {
    const auto read = session.reads.find(lease);
    if (read == session.reads.end() || --read->second > 0) continue;
    session.reads.erase(read);
    if (session.release_when_read.erase(lease) > 0) store.Release(id, lease).IgnoreError();
  }
  if (session.closing && session.reads.empty()) FinishClose(store, id);
}

uint64_t Sessions::Expire(Store& store, absl::Time now, absl::Duration max_age) {
  uint64_t expired =
      store.ExpireLeases(now, max_age, [&](storage::SessionId session, storage::LeaseId lease) {
        const auto it = sessions_.find(session);
        return it != sessions_.end() && it->second.reads.contains(lease);
      });
  for (auto& [id, session] : sessions_) {
    const Id session_id = id;
    std::vector<storage::ReservationId> old;
    for (const auto& [reservation, since] : session.reservations) {
      if (now - since > max_age) old.push_back(reservation);
    }
    for (const storage::ReservationId reservation : old) {
      session.reservations.erase(reservation);
      store.Abort(session_id, reservation).IgnoreError();  // a write in progress keeps its blocks
    }
    expired += old.size();
  }
  return expired;
}

std::vector<Sessions::Summary> Sessions::List(const Store& store, size_t limit) const {
  std::vector<Summary> list;
  list.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) {
    list.push_back({id, session.info, session.opened, store.CountLeases(id),
                    session.reservations.size(), session.reads.size(), session.closing});
  }
  std::sort(list.begin(), list.end(),
            [](const Summary& a, const Summary& b) { return a.id < b.id; });
  if (list.size() > limit) list.resize(limit);
  return list;
}

}  // namespace cistern::cacheserver
