// Takes the rows of one unit out of a worker's paged cache, piece by piece, in the order of its
// payload: so whoever takes the payload on can follow. A payload may be larger than the memory that
// it goes through: that is written to again and again, as whoever follows takes it (Wraps).
//
//   (Add)* ─► (Next)* until done [─► Restart]
//
// Thread   one at a time
// Errors   InvalidArgument: rows that do not cover a segment (SegmentWriter::Validate asks before)
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "client_lib/src/publish_plan.h"
#include "client_lib/src/transfer_units.h"
#include "kernels/gather/gather.h"
#include "transport/slice.h"

namespace cistern::client {

class UnitGather {
 public:
  // About so much at a time: so far may a follower be behind.
  static constexpr uint64_t kPieceBytes = 64 << 10;

  // `spec` and `rows` outlive it. `memory`: unit.bytes() bytes, or fewer: some rows at least.
  UnitGather(const base::ModelSpec& spec, const RowSource& rows, const TransferUnit& unit,
             transport::MutableSlice memory);

  // The unit's next object.
  void Add(const NewSegment& segment);

  bool done() const { return filled_ == unit_.bytes(); }
  uint64_t filled() const { return filled_; }  // bytes of the payload, from its front
  bool wraps() const { return memory_.size() < unit_.bytes(); }

  // Whether the next piece has a place, `taken` bytes of the payload being done with.
  bool HasRoom(uint64_t taken) const;
  // Some more; there is room. Through the caches: whoever sends them on reads them next.
  absl::Status Next(kernels::StoreHint stores = kernels::StoreHint::kCached);
  void Restart();  // from the front

  // The payload, as it goes through the memory.
  std::vector<transport::Slice> Payload() const;

 private:
  struct Object {
    uint32_t begin = 0;  // its first token in the sequence
    uint32_t rows = 0;
    bool pre_rope = false;
  };

  uint32_t NextRows() const;
  kernels::GatherParams Piece(const Object& object, uint32_t rows, std::byte* const* page) const;
  // The same rows out of a device's memory.
  absl::Status Take(const Object& object, uint32_t rows, std::byte* to) const;
  void Advance(uint32_t rows);
  void AskAhead() const;

  const base::ModelSpec* spec_;
  const RowSource* rows_;
  TransferUnit unit_;
  transport::MutableSlice memory_;
  std::vector<Object> objects_;
  uint64_t filled_ = 0;
  uint32_t layer_;       // of the next piece
  uint32_t object_ = 0;  // likewise
  uint32_t token_ = 0;   // of the object
};

}  // namespace cistern::client
