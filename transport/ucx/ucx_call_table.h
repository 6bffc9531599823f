// The calls of one UCX link whose payloads are under way: what completes when, and what happens to
// a buffer when a deadline passes while UCX still uses it.
//
//   Start ─► (sending) ─► OnMessage: the reply ─► (receiving) ─► complete
//
// A call waits here, not in the ClientCore, from its reply (or its deadline) on until both its
// payloads are at rest. A payload in pieces is taken back when the deadline passes, and the link
// lives on. One that UCX moves as a whole cannot be: when that takes kOverdueGrace longer than the
// deadline, the connection is given up for it (ucx_link.h).
//
// Thread   the lane's; completions run there
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

#include "transport/rpc/client_core.h"
#include "transport/rpc/lane.h"
#include "transport/ucx/ucx_connection.h"
#include "transport/wire/codec.h"

namespace cistern::transport {

class UcxCallTable final : public UcxEvents, public std::enable_shared_from_this<UcxCallTable> {
 public:
  UcxCallTable(Lane* lane, std::shared_ptr<ClientCore> core)
      : lane_(lane), core_(std::move(core)) {}

  // The connection whose events come here; before the first Start.
  void Use(std::shared_ptr<UcxConnection> connection);

  // Sends a call that the core has begun.
  void Start(UcxConnection& connection, uint64_t call_id, std::string message,
             std::vector<Slice> send);

  void OnMessage(std::span<const std::byte> message, UcxPayload payload) override;
  void OnBadFrame(const absl::Status&) override {}
  void OnClosed(const absl::Status& why) override;

 private:
  // Of a call with a request payload, from Start on; of another one, from its reply on.
  struct Transfer {
    bool sending = false;
    bool receiving = false;
    UcxPayload payload;               // the reply's, while it is being received
    std::optional<PendingCall> call;  // once it has left the core: then it ends here
    ReplyEnvelope reply;
    absl::Status status;  // not OK: how it ends
    Lane::TimerId timer = 0;
  };

  bool MayExpire(const PendingCall& call);
  void Hold(uint64_t call_id);
  void OnReply(PendingCall call, ReplyEnvelope reply, UcxPayload payload);
  void OnSent(uint64_t call_id);
  void OnReceived(uint64_t call_id, absl::Status status);
  void Watch(uint64_t call_id, MonoTime until);
  void GiveUp(uint64_t call_id);
  void TryComplete(uint64_t call_id);

  Lane* const lane_;
  const std::shared_ptr<ClientCore> core_;
  std::shared_ptr<UcxConnection> connection_;
  absl::flat_hash_map<uint64_t, Transfer> transfers_;  // by call id
  absl::flat_hash_set<uint64_t> expired_unsent_;       // expired on their way to Start
};

}  // namespace cistern::transport
