// Which way large payloads take over an endpoint.
//
// TCP rewards few copies by few threads: pieces that the lane packs, and UCX sends as they are.
// Where a network card moves the bytes, UCX's rendezvous needs no copy.
#pragma once

#include "absl/status/status.h"
#include "ucp/api/ucp.h"

namespace cistern::transport {

// In pieces: true if all that the endpoint sends messages over is TCP. CISTERN_UCX_PAYLOADS in the
// environment, "pieces" or "rendezvous", decides instead.
bool UcxSendsInPieces(ucp_ep_h endpoint);

// InvalidArgument: CISTERN_UCX_PAYLOADS says anything else.
absl::Status CheckUcxPayloads();

}  // namespace cistern::transport
