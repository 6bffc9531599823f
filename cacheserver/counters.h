// What a node counts: calls by kind, and their errors by kind and code.
//
// Thread   any
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "transport/wire/messages.h"

namespace cistern::cacheserver {

inline constexpr size_t kCallKinds = std::variant_size_v<transport::Request>;
inline constexpr size_t kStatusCodes = 17;

// A request's kind is its index in transport::Request.
absl::string_view CallKindName(size_t kind);

class Counters {
 public:
  using Count = std::atomic<uint64_t>;

  void CountCall(size_t kind) { Bump(calls_[kind]); }
  void CountError(size_t kind, absl::StatusCode code);
  uint64_t calls(size_t kind) const { return calls_[kind].load(std::memory_order_relaxed); }
  uint64_t errors(size_t kind, absl::StatusCode code) const;
  uint64_t errors() const;

  static void Bump(Count& count, uint64_t by = 1) {
    count.fetch_add(by, std::memory_order_relaxed);
  }

  Count parked{0};            // calls that had to wait for room in memory
  Count parked_bytes{0};      // of payloads that wait now with such calls
  Count no_room{0};           // objects that were refused for want of it
  Count coalesced_stages{0};  // leases that joined a disk read in progress
  Count limited{0};           // leases and reservations refused by a session's limit
  Count truncated_finds{0};   // replies that would have become too large
  Count expired_leases{0};
  Count demotion_batches{0};
  Count verified{0};  // records and objects whose bytes were checked by `verify`
  Count corrupt{0};   // those that were wrong

 private:
  std::array<Count, kCallKinds> calls_{};
  std::array<std::array<Count, kStatusCodes>, kCallKinds> errors_{};
};

}  // namespace cistern::cacheserver
