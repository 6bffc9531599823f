#include "tools/bench/peers/peers_run.h"

#include <algorithm>

#include "base/status_macros.h"
#include "tools/bench/peers/contest.h"

namespace cistern::tools {
namespace {

constexpr uint64_t kRoundBytes = 64ull << 20;
constexpr uint64_t kMaxOperations = 64;

absl::Status RunOver(const PeersOptions& options, bool tcp, CacheSweep& sweep,
                     const EmitPeerLine& emit) {
  CISTERN_ASSIGN_OR_RETURN(const std::unique_ptr<Contest> contest, Contest::Start(options, tcp));
  for (const uint32_t workers : options.connections) {
    CISTERN_RETURN_IF_ERROR(contest->Connect(workers));
    for (const TransferShape& shape : options.shapes) {
      CISTERN_RETURN_IF_ERROR(MeasureGet(options, shape, workers, *contest, sweep, emit));
      CISTERN_RETURN_IF_ERROR(MeasureSet(options, shape, workers, *contest, sweep, emit));
    }
  }
  return absl::OkStatus();
}

}  // namespace

uint32_t PeerOperations(uint64_t bytes, uint32_t connections) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(kRoundBytes / (bytes * connections), 1, kMaxOperations));
}

absl::Status RunPeers(const PeersOptions& options, const EmitPeerLine& emit) {
  CacheSweep sweep;
  for (const bool tcp : options.over_tcp)
    CISTERN_RETURN_IF_ERROR(RunOver(options, tcp, sweep, emit));
  return absl::OkStatus();
}

}  // namespace cistern::tools
