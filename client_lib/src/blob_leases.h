// Leases on blobs: found by key, brought from disk where they are not in memory, given back at the
// end.
//
//   Find ─► (Lease ─► use ─► GiveBack)*
//
// Thread   one at a time
// Errors   Unavailable, DeadlineExceeded: no node. What a single blob lacks shows in its entry
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/arena_layout.h"
#include "base/key.h"
#include "client_lib/src/session.h"
#include "transport/link.h"

namespace cistern::client {

struct FoundBlob {
  uint64_t bytes = 0;  // 0: not stored
  transport::ObjectId id = 0;
  transport::LeaseId lease = 0;  // 0: none
  std::vector<base::BlockRef> blocks;
};

class BlobLeases {
 public:
  static constexpr uint64_t kWindowBytes = 64 << 20;  // leased at a time, or one blob

  BlobLeases(std::shared_ptr<Session> session, absl::Time until)
      : session_(std::move(session)), until_(until) {}
  ~BlobLeases() { GiveBack(); }
  BlobLeases(const BlobLeases&) = delete;
  BlobLeases& operator=(const BlobLeases&) = delete;

  // One entry for each key. `lease`: what is in the node's memory is leased.
  absl::Status Find(std::span<const base::Key> keys, bool lease);

  // Leases the next blobs that are stored and have not been leased yet, a window of them. What is
  // gone, or finds no room after a while, counts as not stored. False: there are none left.
  absl::StatusOr<bool> LeaseMore();

  std::vector<FoundBlob>& blobs() { return blobs_; }
  Session& session() { return *session_; }
  const std::shared_ptr<Session>& shared_session() const { return session_; }
  absl::Time until() const { return until_; }

  // Of all leases that there are; their entries are done with.
  void GiveBack();

 private:
  absl::Status FindSome(std::span<const base::Key> keys, bool lease);
  absl::Status Lease(const std::vector<size_t>& window, std::vector<size_t>* no_room);
  transport::CallOptions Options() const;

  const std::shared_ptr<Session> session_;
  const absl::Time until_;
  std::vector<FoundBlob> blobs_;
  size_t next_ = 0;  // the first entry that may still want a lease
};

}  // namespace cistern::client
