// Commit, Abort, Link: the ends of publishing.
#include "absl/strings/str_cat.h"

#include "base/key.h"
#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {

using storage::Store;

// What can be committed is; an error says how much that was.
void HandleCommit(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<transport::CommitRequest>();
  transport::CommitReply reply;
  absl::Status first_error;
  parts.store->With([&](Store& store) {
    for (const transport::ReservationId id : request.reservations) {
      const absl::Status status =
          parts.sessions->Commit(store, call->session(), id, parts.Now()).status();
      if (status.ok()) ++reply.committed;
      if (first_error.ok()) first_error = status;
    }
  });
  parts.KickDemoter();
  parts.room->RoomCame();
  if (first_error.ok()) return call->Answer(reply);
  call->Fail(absl::Status(first_error.code(),
                          absl::StrCat(first_error.message(), " (", reply.committed, " of ",
                                       request.reservations.size(), " were committed)")));
}

// A reservation that is not there (any more) is no error: that is what was asked for.
void HandleAbort(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<transport::AbortRequest>();
  parts.store->With([&](Store& store) {
    for (const transport::ReservationId id : request.reservations)
      parts.sessions->Abort(store, call->session(), id).IgnoreError();
  });
  parts.room->RoomCame();
  call->Answer(transport::AbortReply{});
}

namespace {

// A context key follows from its parent and the content key. Who can name it for this object knows
// the object's content key, and that follows from the tenant's salt: an object's number is no
// proof.
bool KnowsContent(const Store& store, const transport::LinkItem& item) {
  const storage::ObjectView object = store.Describe(item.object);
  return object.where != storage::Where::kMiss &&
         item.context == base::KeySpace::Context(item.parent_context, object.header->content);
}

}  // namespace

void HandleLink(const Parts& parts, const CallPtr& call) {
  const auto& request = call->request<transport::LinkRequest>();
  transport::LinkReply reply;
  const absl::Status wrong = parts.store->With([&](Store& store) -> absl::Status {
    for (const transport::LinkItem& item : request.items) {
      if (!KnowsContent(store, item)) continue;  // gone, or none of the caller's
      absl::Status status = store.Link(item.object, item.context, item.parent_context);
      if (absl::IsInvalidArgument(status)) return status;
      if (status.ok()) ++reply.linked;  // otherwise it is gone
    }
    return absl::OkStatus();
  });
  if (!wrong.ok()) return call->Fail(wrong);
  call->Answer(reply);
}

}  // namespace cistern::cacheserver
