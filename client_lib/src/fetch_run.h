// One fetch, from leases to rows in place. Runs on a fetch thread and owns the plan while it does.
//
// Everything that is held is moved in one pass, layer by layer over all spans. Only when some
// objects lie on disk, or the node has no room for all leases at once, are there passes before
// that: they move what is there while the node brings the next window, and give the leases back.
//
// Thread   one
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/object.h"
#include "client_lib/src/counters.h"
#include "client_lib/src/destination.h"
#include "client_lib/src/fetch_state.h"
#include "client_lib/src/lease_queue.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/rates.h"
#include "client_lib/src/span_mover.h"

namespace cistern::client {

struct FetchJob {
  std::unique_ptr<PlanImpl> plan;
  Destination destination;
  std::function<void(uint32_t)> on_layer;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;
  std::shared_ptr<FetchState> state;
};

class FetchRun {
 public:
  FetchRun(FetchJob* job, Counters* counters, Rates* rates);

  // Returns when all is settled or nobody wants it any more. Finishes the state.
  void Run();

 private:
  struct SpanWork {
    std::optional<SpanMover> mover;
    bool lost = false;
  };

  void Prepare();
  void LeaseAndMove(std::vector<uint32_t> held, const std::vector<uint32_t>& wanted);
  std::vector<uint32_t> FinishLeases(LeaseQueue* queue);

  // Moves all rows of `objects`, which are leased, and gives the leases back. `last`: their layers
  // are announced.
  void Pass(const std::vector<uint32_t>& objects, bool last);
  void PassInPlace(const std::vector<uint32_t>& objects, bool last);
  void PassByCopy(const std::vector<uint32_t>& objects, bool last);
  void Announce(uint32_t layers);

  // Both within a step.
  void MoveRows(uint32_t object, const kernels::SegmentRows& source, uint32_t layer_begin,
                uint32_t layer_end);
  void CheckStale(uint32_t object);
  void SettleObject(uint32_t object, bool mapped);

  bool BlocksFit(uint32_t object) const;
  void Lose(uint32_t object);
  void LoseSpan(uint32_t span);
  uint64_t RowBytes(const std::vector<uint32_t>& objects) const;  // of one layer

  FetchJob& job_;
  PlanImpl& plan_;
  FetchState& state_;
  Counters& counters_;
  Rates& rates_;
  std::vector<SpanWork> spans_;                  // per span of the plan
  std::vector<std::vector<uint32_t>> spans_of_;  // per object of the plan
  std::vector<bool> from_disk_;                  // per object of the plan
  uint32_t announced_ = 0;
  kernels::StoreHint stores_ = kernels::StoreHint::kAuto;
};

}  // namespace cistern::client
