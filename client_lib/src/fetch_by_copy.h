// A pass of a fetch over rows that the node sends, and how far it has come.
//
// Thread   one at a time
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "client_lib/src/pending_call.h"
#include "client_lib/src/staging.h"
#include "client_lib/src/transfer_units.h"

namespace cistern::client {

struct ByCopy {
  struct Flight {
    TransferUnit unit;
    Staging::Lent buffer;
    std::shared_ptr<PendingCall> call;
  };

  ByCopy() = default;
  ByCopy(const ByCopy&) = delete;
  ByCopy& operator=(const ByCopy&) = delete;
  ~ByCopy() { Abandon(); }

  void Abandon();  // nobody waits any more for what is in flight

  std::vector<uint32_t> objects;  // of the plan; all leased
  std::vector<uint32_t> tokens;   // of each
  UnitCut cut;
  std::vector<TransferUnit> units;
  bool last = false;          // its layers are announced
  size_t next = 0;            // unit to be asked for
  std::deque<Flight> flying;  // asked for; oldest first
};

}  // namespace cistern::client
