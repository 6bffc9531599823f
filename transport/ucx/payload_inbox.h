// Payloads that come over a connection in pieces: each piece is checked and copied to where the
// payload goes.
//
//   Announce ─► Claim ─► OnPiece* ─► `done`
//        └────► Forget                            also later: what still comes of it is thrown away
//
// Whoever claims a payload has his memory back whenever he forgets it: nobody else writes to it.
//
// Thread   one at a time. `done` runs within OnPiece, OnWithdrawn, Claim, Forget or Clear
// Errors   of `done`: DataLoss (a piece does not have its checksum), Unavailable (the sender takes
//          it back, or is gone), InvalidArgument (it came before it was asked for).
//          InvalidArgument elsewhere: the peer talks nonsense
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"

#include "transport/rpc/mono_time.h"
#include "transport/rpc/once.h"
#include "transport/slice.h"
#include "transport/ucx/ucx_frame.h"

namespace cistern::transport {

class PayloadInbox {
 public:
  // Payloads that have been announced and not all come; more are nonsense.
  static constexpr size_t kMaxPayloads = 8192;

  absl::Status Announce(uint64_t tag, uint64_t bytes);
  // `into` has as many bytes as were announced, and is borrowed until `done` runs.
  void Claim(uint64_t tag, std::vector<MutableSlice> into, Received done);
  // A claim ends with Unavailable.
  void Forget(uint64_t tag);
  absl::Status OnPiece(const PieceHeader& header, Slice piece);
  void OnWithdrawn(uint64_t tag);
  void Clear();

  bool claimed(uint64_t tag) const;
  // When the oldest claim was made; kNever: there is none.
  MonoTime oldest() const;

 private:
  struct Entry {
    uint64_t bytes = 0;      // in all
    uint64_t missing = 0;    // pieces that have not come
    std::vector<bool> come;  // by a piece's place
    bool claimed = false;
    absl::Status lost;  // not OK: it cannot be had any more
    std::vector<MutableSlice> into;
    std::vector<uint64_t> begins;  // of the slices, in the payload
    MonoTime since;                // the claim
    Received done;
  };

  static absl::Status Note(Entry& entry, const PieceHeader& header, size_t bytes);
  static void Scatter(const Entry& entry, uint64_t offset, Slice piece);
  void End(uint64_t tag, absl::Status status);

  absl::flat_hash_map<uint64_t, Entry> entries_;  // by tag
};

}  // namespace cistern::transport
