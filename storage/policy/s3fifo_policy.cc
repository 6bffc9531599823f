#include "storage/policy/s3fifo_policy.h"

#include <algorithm>

namespace cistern::storage {

// Entry::waiting is set while it stands in its line, not while it is set aside; Entry::uses are
// those that it has left.

void S3FifoPolicy::Link(Slot slot, Fifo& fifo, Slot before) {
  if (slot >= neighbours_.size()) neighbours_.resize(slot + 1);
  Slot& behind = before == kNoSlot ? fifo.first : neighbours_[before].after;
  const Slot after = behind;
  neighbours_[slot] = {.before = before, .after = after};
  behind = slot;
  (after == kNoSlot ? fifo.last : neighbours_[after].before) = slot;
  at(slot).waiting = 1;
}

void S3FifoPolicy::Unlink(Slot slot) {
  Fifo& fifo = fifos_[at(slot).queue];
  const Neighbours& next_to = neighbours_[slot];
  (next_to.before == kNoSlot ? fifo.first : neighbours_[next_to.before].after) = next_to.after;
  (next_to.after == kNoSlot ? fifo.last : neighbours_[next_to.after].before) = next_to.before;
  at(slot).waiting = 0;
}

void S3FifoPolicy::Append(Slot slot, Queue queue) {
  Fifo& fifo = fifos_[queue];
  ++fifo.blocks;
  at(slot).queue = queue;
  Link(slot, fifo, fifo.last);
}

void S3FifoPolicy::Entered(Slot slot, uint64_t key) {
  Append(slot, ghosts_.Take(key).has_value() ? kMain : kSmall);
}

void S3FifoPolicy::Used(Slot slot) {
  Entry& entry = at(slot);
  entry.uses = std::min<uint64_t>(entry.uses, kMaxUses);
}

void S3FifoPolicy::Opened(Slot slot) {
  if (!at(slot).waiting) Link(slot, fifos_[at(slot).queue], kNoSlot);
}

Slot S3FifoPolicy::TakeTurn(Queue queue) {
  const Slot slot = fifos_[queue].first;
  Entry& entry = at(slot);
  const uint32_t uses = entry.uses;
  if (!entry.open) {
    Unlink(slot);
    return kNoSlot;
  }
  if (queue == kSmall && uses < kUsesToStay) return slot;
  if (queue == kMain && uses == 0) return slot;
  Unlink(slot);
  --fifos_[queue].blocks;
  Append(slot, kMain);
  entry.uses = queue == kMain ? uses - 1 : 0;
  return kNoSlot;
}

Slot S3FifoPolicy::Choose() {
  while (true) {
    const bool small_is_due = fifos_[kSmall].blocks * 100 >= size() * kSmallPercent;
    Queue queue = small_is_due ? kSmall : kMain;
    if (fifos_[queue].first == kNoSlot) queue = queue == kSmall ? kMain : kSmall;
    if (fifos_[queue].first == kNoSlot) return kNoSlot;
    const Slot slot = TakeTurn(queue);
    if (slot != kNoSlot) return slot;
  }
}

void S3FifoPolicy::Left(Slot slot, Exit exit, uint64_t key) {
  const bool small = at(slot).queue == kSmall;
  if (at(slot).waiting) Unlink(slot);
  --fifos_[small ? kSmall : kMain].blocks;
  if (exit == Exit::kErased || !small) return;
  ghosts_.Add(key, 0);
  ghosts_.Trim(size() * kGhostPercent / 100);
}

}  // namespace cistern::storage
