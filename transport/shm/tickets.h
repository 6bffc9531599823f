// Whose a call's payload memory is: the node asks before it writes a reply there, and after it has
// read a request there; the worker withdraws when it has waited long enough.
//
// A worker's buffer is its own again once a call has completed, be it by its deadline. A node that
// is late must not write into it then, nor believe what it has read from it: by now that may be
// something else. So each call with a payload has a ticket, a word in memory that both share:
//
//   worker: armed ─► node: claimed (it writes now, or it has read all; then it answers)
//                └─► worker: withdrawn (the deadline has passed; the node, finding it so, writes
//                nothing, and drops what it has read)
//
// Both sides move it by compare-and-swap from `armed`, so exactly one of them wins. A word carries
// a number that is not used again, so that a stale claim of an earlier call never fits.
//
// Thread   TicketBook: any. Claim: any, in the node
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "transport/shm/memfd.h"

namespace cistern::transport {

inline constexpr uint64_t kTicketArmed = 1;  // the lowest two bits; above them the number
inline constexpr uint64_t kTicketClaimed = 2;
inline constexpr uint64_t kTicketWithdrawn = 3;

struct Ticket {
  uint32_t index = 0;
  uint64_t word = 0;  // armed
};

// Moves a ticket on from `armed`; false when the other side was first. `memory` holds words.
inline bool MoveTicket(Mapping& memory, const Ticket& ticket, uint64_t state) {
  auto* words = reinterpret_cast<uint64_t*>(memory.data());
  uint64_t armed = ticket.word;
  return __atomic_compare_exchange_n(&words[ticket.index], &armed,
                                     (ticket.word & ~uint64_t{3}) | state, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}

// The worker's tickets.
class TicketBook {
 public:
  TicketBook(std::shared_ptr<Mapping> memory, uint32_t count)
      : memory_(std::move(memory)), words_(count) {
    for (uint32_t i = count; i > 0; --i) free_.push_back(i - 1);
  }

  // Nothing when all are in use.
  std::optional<Ticket> Arm() {
    base::MutexLock lock(&mutex_);
    if (free_.empty()) return std::nullopt;
    Ticket ticket{free_.back(), ++number_ << 2 | kTicketArmed};
    free_.pop_back();
    words_[ticket.index] = ticket.word;
    __atomic_store_n(reinterpret_cast<uint64_t*>(memory_->data()) + ticket.index, ticket.word,
                     __ATOMIC_RELEASE);
    return ticket;
  }

  // True: the node will not write any more. False: it has begun to.
  bool Withdraw(uint32_t index) {
    base::MutexLock lock(&mutex_);
    return MoveTicket(*memory_, {index, words_[index]}, kTicketWithdrawn);
  }

  // The call has completed, by a reply or not: a node that has not claimed it yet is too late.
  void Return(uint32_t index) {
    base::MutexLock lock(&mutex_);
    MoveTicket(*memory_, {index, words_[index]}, kTicketWithdrawn);
    free_.push_back(index);
  }

 private:
  const std::shared_ptr<Mapping> memory_;
  base::Mutex mutex_;
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<uint64_t> words_ ABSL_GUARDED_BY(mutex_);  // as armed, by index
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::transport
