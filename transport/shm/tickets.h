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
// Beside the word stands how much of a request's payload is there, for a call that has gone ahead
// of its payload (kFollow in frame.h):
//
//   worker: writes some more of the payload ─► `filled` ─► ... ─► all of it
//   node:   reads `filled`, copies so far ─► `taken`, looks again; all copied: claims the word
//
// Memory whose bytes have been taken may be written to again: several slices of a payload may name
// one piece of memory.
//
// A node that has looked in vain for a while sets `asleep`, looks once more, and does other things;
// a worker that sees it so after it has said more takes it back and sends a frame, kFilled.
//
// `filled` begins at 0 and never shrinks or exceeds the payload: a node that sees it do so refuses
// the call. What is filled does not change until it is taken or the call has ended. A worker that
// gives up in the middle withdraws the word.
//
// Nobody who is late speaks for another call. A line is not armed again before its call has ended
// and its writer has let go of it. Its node may be later than that: it may just have come to a call
// whose worker has long given up. So both counts carry the low bits of the call's number, and the
// node moves `taken` by compare-and-swap from what it said last.
//
// Thread   TicketBook: any; Filled: one at a time. The node's functions: one at a time for a call
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

// In memory that both sides write.
struct TicketLine {
  uint64_t word = 0;
  uint64_t filled = 0;  // CountOf bytes of the request's payload, from its front
  uint64_t asleep = 0;  // 1: the node has stopped looking, and wants a kFilled
  uint64_t taken = 0;   // CountOf bytes that the node has copied, from the payload's front
  uint64_t unused[4] = {};
};
static_assert(sizeof(TicketLine) == 64);  // what one call writes disturbs no other

struct Ticket {
  uint32_t index = 0;  // of its line
  uint64_t word = 0;   // armed
};

// A count of bytes, and whose: that of the call with the ticket `word`.
inline constexpr int kFillCountBits = 40;
inline constexpr uint64_t kMaxFillCount = (uint64_t{1} << kFillCountBits) - 1;
constexpr uint64_t CountOf(uint64_t word, uint64_t bytes) {
  return word >> 2 << kFillCountBits | bytes;
}
// Nothing when it is another call's.
constexpr std::optional<uint64_t> BytesOf(uint64_t word, uint64_t count) {
  if ((count & ~kMaxFillCount) != CountOf(word, 0)) return std::nullopt;
  return count & kMaxFillCount;
}

inline TicketLine* LineOf(Mapping& memory, uint32_t index) {
  return reinterpret_cast<TicketLine*>(memory.data()) + index;
}

// Moves a ticket on from `armed`; false when the other side was first. `memory` holds lines.
inline bool MoveTicket(Mapping& memory, const Ticket& ticket, uint64_t state) {
  uint64_t armed = ticket.word;
  return __atomic_compare_exchange_n(&LineOf(memory, ticket.index)->word, &armed,
                                     (ticket.word & ~uint64_t{3}) | state, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}

inline bool IsArmed(Mapping& memory, const Ticket& ticket) {
  return __atomic_load_n(&LineOf(memory, ticket.index)->word, __ATOMIC_ACQUIRE) == ticket.word;
}

// The node's: whether it may sleep, `filled` being what it was.
inline bool FallAsleep(Mapping& memory, const Ticket& ticket, uint64_t filled) {
  TicketLine* line = LineOf(memory, ticket.index);
  __atomic_store_n(&line->asleep, uint64_t{1}, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&line->filled, __ATOMIC_SEQ_CST) == CountOf(ticket.word, filled)) return true;
  __atomic_store_n(&line->asleep, uint64_t{0}, __ATOMIC_RELAXED);
  return false;
}

// The node's: the memory of `bytes` may be written to again, after that of `before`. False: the
// line is another call's by now.
inline bool SetTaken(Mapping& memory, const Ticket& ticket, uint64_t before, uint64_t bytes) {
  uint64_t said = CountOf(ticket.word, before);
  return __atomic_compare_exchange_n(&LineOf(memory, ticket.index)->taken, &said,
                                     CountOf(ticket.word, bytes), false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE);
}

// Nothing when the line is another call's by now.
inline std::optional<uint64_t> FilledOf(Mapping& memory, const Ticket& ticket) {
  return BytesOf(ticket.word,
                 __atomic_load_n(&LineOf(memory, ticket.index)->filled, __ATOMIC_ACQUIRE));
}

// The worker's tickets.
class TicketBook {
 public:
  TicketBook(std::shared_ptr<Mapping> memory, uint32_t count)
      : memory_(std::move(memory)), lines_(count) {
    for (uint32_t i = count; i > 0; --i) free_.push_back(i - 1);
  }

  // Nothing when all are in use. `fills`: somebody will say Filled, and EndFill at last.
  std::optional<Ticket> Arm(bool fills = false) {
    base::MutexLock lock(&mutex_);
    if (free_.empty()) return std::nullopt;
    Ticket ticket{free_.back(), ++number_ << 2 | kTicketArmed};
    free_.pop_back();
    lines_[ticket.index] = {ticket.word, /*called=*/true, fills};
    TicketLine* line = LineOf(*memory_, ticket.index);
    __atomic_store_n(&line->filled, CountOf(ticket.word, 0), __ATOMIC_RELAXED);
    __atomic_store_n(&line->asleep, uint64_t{0}, __ATOMIC_RELAXED);
    __atomic_store_n(&line->taken, CountOf(ticket.word, 0), __ATOMIC_RELAXED);
    __atomic_store_n(&line->word, ticket.word, __ATOMIC_RELEASE);
    return ticket;
  }

  // True: the node will not write any more, be it since an earlier Withdraw. False: it has begun
  // to.
  bool Withdraw(uint32_t index) {
    base::MutexLock lock(&mutex_);
    const uint64_t word = lines_[index].word;
    return MoveTicket(*memory_, {index, word}, kTicketWithdrawn) ||
           __atomic_load_n(&LineOf(*memory_, index)->word, __ATOMIC_ACQUIRE) ==
               ((word & ~uint64_t{3}) | kTicketWithdrawn);
  }

  // The call has completed, by a reply or not: a node that has not claimed it yet is too late.
  void Return(uint32_t index) {
    base::MutexLock lock(&mutex_);
    MoveTicket(*memory_, {index, lines_[index].word}, kTicketWithdrawn);
    lines_[index].called = false;
    FreeLocked(index);
  }

  void Filled(const Ticket& ticket, uint64_t bytes) {
    __atomic_store_n(&LineOf(*memory_, ticket.index)->filled, CountOf(ticket.word, bytes),
                     __ATOMIC_SEQ_CST);
  }

  uint64_t Taken(const Ticket& ticket) const {
    const uint64_t count =
        __atomic_load_n(&LineOf(*memory_, ticket.index)->taken, __ATOMIC_ACQUIRE);
    return BytesOf(ticket.word, count).value_or(0);
  }

  // Whether the node sleeps and is to be woken: once each time that it does.
  bool MustWake(uint32_t index) {
    TicketLine* line = LineOf(*memory_, index);
    return __atomic_load_n(&line->asleep, __ATOMIC_SEQ_CST) != 0 &&
           __atomic_exchange_n(&line->asleep, uint64_t{0}, __ATOMIC_SEQ_CST) != 0;
  }

  // `complete`: all of the payload is there. Otherwise the call comes to nothing.
  void EndFill(uint32_t index, bool complete) {
    base::MutexLock lock(&mutex_);
    if (!complete) MoveTicket(*memory_, {index, lines_[index].word}, kTicketWithdrawn);
    lines_[index].fills = false;
    FreeLocked(index);
  }

 private:
  struct Line {
    uint64_t word = 0;  // as armed
    bool called = false;
    bool fills = false;
  };

  void FreeLocked(uint32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!lines_[index].called && !lines_[index].fills) free_.push_back(index);
  }

  const std::shared_ptr<Mapping> memory_;
  base::Mutex mutex_;
  uint64_t number_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Line> lines_ ABSL_GUARDED_BY(mutex_);  // by index
  std::vector<uint32_t> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::transport
