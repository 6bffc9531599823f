// Payloads that leave a connection in pieces: packed one after the other, each with its checksum.
//
//   Add ─► Go ─► (Pack)* ─► its `sent` runs with the last piece
//
// Bytes are copied out of where they lie when their piece is packed, so a payload can be taken back
// between any two pieces. The first payload that may go is sent whole before the next one begins:
// who waits for it has it sooner than if they shared.
//
// Thread   one at a time. `sent` runs within the call that ends its payload
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "transport/rpc/mono_time.h"
#include "transport/rpc/once.h"
#include "transport/slice.h"
#include "transport/ucx/ucx_frame.h"

namespace cistern::transport {

class PayloadOutbox {
 public:
  struct Piece {
    PieceHeader header;
    size_t bytes = 0;
  };

  // `payload` is borrowed until `sent` runs. `name`: what Withdraw knows it by, 0 for none.
  void Add(uint64_t tag, uint64_t name, std::vector<Slice> payload, Sent sent);
  bool Go(uint64_t tag);      // its receiver waits for it. False: it is not here
  void Refuse(uint64_t tag);  // of one that is not here: nothing. Its `sent` runs
  // The tag of the payload that was here by this name, if it was; its `sent` has run.
  std::optional<uint64_t> Withdraw(uint64_t name);
  void Clear();

  // When the one that has been here for longest came; kNever: there is none.
  MonoTime oldest() const;

  // Whether there is something to pack.
  bool ready() const;
  // As much as is left and `into` holds.
  // Needs    ready()
  Piece Pack(MutableSlice into);

 private:
  struct Entry {
    uint64_t tag = 0;
    uint64_t name = 0;
    MonoTime since = MonoNow();
    bool may_go = false;
    std::vector<Slice> payload;
    uint64_t bytes = 0;   // in all
    uint64_t packed = 0;  // of them
    size_t slice = 0;     // where the next piece begins
    size_t offset = 0;
    Sent sent;
  };
  using Entries = std::deque<Entry>;

  Entries::iterator Find(uint64_t tag);
  void End(const Entries::iterator& entry);

  Entries entries_;  // few: as many as there are calls with payloads
};

}  // namespace cistern::transport
