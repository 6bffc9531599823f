// The node as the transport sees it: sessions come and go, calls are dispatched.
//
//   OnOpen (OnCall)* OnClose            Drain: no new calls, those in progress end
//
// Thread   the lanes'; Drain: any other
#pragma once

#include <memory>

#include "absl/time/time.h"

#include "cacheserver/service/call.h"
#include "cacheserver/service/parts.h"
#include "transport/service.h"

namespace cistern::cacheserver {

class NodeService final : public transport::Service {
 public:
  explicit NodeService(const Parts& parts);

  void OnOpen(transport::SessionId session, const transport::SessionInfo& info) override;
  void OnCall(std::unique_ptr<transport::ServerCall> call) override;
  void OnClose(transport::SessionId session) override;

  // New calls are answered Unavailable. False when some were still in progress after `timeout`.
  bool Drain(absl::Duration timeout);

  // What a timer does: takes back old leases and reservations, looks at the watermark and at the
  // calls that wait.
  void Housekeep();

 private:
  CallGate gate_;
  const Parts parts_;
};

}  // namespace cistern::cacheserver
