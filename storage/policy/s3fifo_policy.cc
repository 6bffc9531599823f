#include "storage/policy/s3fifo_policy.h"

#include <algorithm>

namespace cistern::storage {

// Entry::slot is 1 while it stands in its line, 0 while it is set aside; Entry::past_uses are the
// uses that it has left.

void S3FifoPolicy::Append(Entry& entry, Queue queue) {
  Fifo& fifo = fifos_[queue];
  ++fifo.blocks;
  entry.queue = queue;
  entry.slot = 1;
  entry.place = fifo.line.insert(fifo.line.end(), &entry);
}

void S3FifoPolicy::Entered(Entry& entry) {
  Append(entry, ghosts_.Take(entry.name).has_value() ? kMain : kSmall);
}

void S3FifoPolicy::Used(Entry& entry, uint64_t /*previous_use*/) {
  if (entry.past_uses < kMaxUses) ++entry.past_uses;
}

void S3FifoPolicy::Opened(Entry& entry) {
  if (entry.slot == 1) return;
  std::list<Entry*>& line = fifos_[entry.queue].line;
  entry.place = line.insert(line.begin(), &entry);
  entry.slot = 1;
}

EvictionPolicy::Entry* S3FifoPolicy::TakeTurn(Fifo& fifo, Queue queue) {
  Entry* entry = fifo.line.front();
  const uint32_t uses = entry->past_uses;
  if (!entry->open()) {
    fifo.line.pop_front();
    entry->slot = 0;
    return nullptr;
  }
  if (queue == kSmall && uses < kUsesToStay) return entry;
  if (queue == kMain && uses == 0) return entry;
  fifo.line.pop_front();
  --fifo.blocks;
  Append(*entry, kMain);
  entry->past_uses = queue == kMain ? uses - 1 : 0;
  return nullptr;
}

EvictionPolicy::Entry* S3FifoPolicy::Choose() {
  while (true) {
    const bool small_is_due = fifos_[kSmall].blocks * 100 >= size() * kSmallPercent;
    Queue queue = small_is_due ? kSmall : kMain;
    if (fifos_[queue].line.empty()) queue = queue == kSmall ? kMain : kSmall;
    if (fifos_[queue].line.empty()) return nullptr;
    Entry* entry = TakeTurn(fifos_[queue], queue);
    if (entry != nullptr) return entry;
  }
}

void S3FifoPolicy::Left(Entry& entry, Exit exit) {
  Fifo& fifo = fifos_[entry.queue];
  if (entry.slot == 1) fifo.line.erase(entry.place);
  --fifo.blocks;
  if (exit == Exit::kErased || entry.queue != kSmall) return;
  ghosts_.Add(entry.name, 0);
  ghosts_.Trim(size() * kGhostPercent / 100);
}

}  // namespace cistern::storage
