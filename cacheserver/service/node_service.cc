#include "cacheserver/service/node_service.h"

#include <array>
#include <utility>

#include "cacheserver/service/handlers.h"

namespace cistern::cacheserver {
namespace {

using Handler = void (*)(const Parts&, const CallPtr&);

void RefuseHello(const Parts& /*parts*/, const CallPtr& call) {
  call->Fail(absl::InvalidArgumentError("a hello opens a connection and is said once"));
}

// In the order of transport::Request.
constexpr std::array<Handler, kCallKinds> kHandlers = {
    RefuseHello,   HandleRegisterModel, HandleFind,   HandleLease, HandleRelease, HandleRead,
    HandleReserve, HandleWrite,         HandleCommit, HandleAbort, HandleLink,    HandleAdmin};

constexpr uint64_t kExpireAtOnce = 256;  // objects, under the store's lock
constexpr uint64_t kExpireRounds = 4;    // each time that old things are looked for

// What nobody has used for object_ttl. What is left over goes the next time.
void ExpireObjects(const Parts& parts) {
  if (parts.config->object_ttl == absl::ZeroDuration()) return;
  const absl::Time now = parts.Now();
  for (uint64_t round = 0; round < kExpireRounds; ++round) {
    const uint64_t expired = parts.store->With(
        [&](storage::Store& store) { return store.ExpireObjects(now, kExpireAtOnce); });
    if (expired < kExpireAtOnce) return;
  }
}

Parts WithGate(const Parts& parts, const CallGate* gate) {
  Parts with = parts;
  with.stopping = [gate] { return gate->closed(); };
  return with;
}

}  // namespace

NodeService::NodeService(const Parts& parts) : parts_(WithGate(parts, &gate_)) {}

void NodeService::OnOpen(transport::SessionId session, const transport::SessionInfo& info) {
  parts_.store->With(
      [&](storage::Store& store) { parts_.sessions->Open(store, session, info, parts_.Now()); });
  parts_.log->Info("session opened", {{"session", session},
                                      {"client", info.client_name},
                                      {"peer", info.peer},
                                      {"maps_memory", info.maps_arena},
                                      {"lane", info.lane}});
}

void NodeService::OnClose(transport::SessionId session) {
  parts_.store->With([&](storage::Store& store) { parts_.sessions->Close(store, session); });
  parts_.room->RoomCame();
  parts_.log->Info("session closed", {{"session", session}});
}

void NodeService::OnCall(std::unique_ptr<transport::ServerCall> server_call) {
  auto call =
      std::make_shared<Call>(std::move(server_call), parts_.counters, gate_.Enter(), parts_.Now());
  const size_t kind = call->kind();
  parts_.counters->CountCall(kind);
  if (!call->admitted())
    return call->Fail(absl::UnavailableError("the node is stopping; compute, or ask another one"));
  if (call->payload_bytes() > 0 && kHandlers[kind] != HandleWrite &&
      kHandlers[kind] != HandleReserve)
    return call->Fail(absl::InvalidArgumentError("only a write or a reserve brings a payload"));
  kHandlers[kind](parts_, call);
}

bool NodeService::Drain(absl::Duration timeout) {
  gate_.Close();
  return gate_.WaitIdle(timeout);
}

void NodeService::Housekeep() {
  const uint64_t expired = parts_.store->With([&](storage::Store& store) {
    return parts_.sessions->Expire(store, parts_.Now(), parts_.config->lease_max_age);
  });
  if (expired > 0) {
    Counters::Bump(parts_.counters->expired_leases, expired);
    parts_.log->Warning(
        "leases or reservations were held too long and taken back",
        {{"count", expired}, {"max_age", absl::FormatDuration(parts_.config->lease_max_age)}});
  }
  ExpireObjects(parts_);
  if (parts_.host != nullptr) {
    parts_.host->ForgetLost(*parts_.store);
    parts_.host->Kick();
  }
  parts_.KickDemoter();  // it deletes the records of what expired
  parts_.room->RoomCame();
}

}  // namespace cistern::cacheserver
