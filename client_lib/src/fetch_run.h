// One fetch, from leases to rows in place. Owns the plan while it runs: on a fetch thread, or,
// where all is leased already, on the thread of a caller who waits for it (fetcher.h).
//
// Everything that is held is moved in one pass, layer by layer over all spans. Only when some
// objects lie on disk, or the node has no room for all leases at once, are there passes before
// that: they move what is there while the node brings the next window, and give the leases back.
//
// The last pass comes layer by layer: the first steps are short, so that whoever waits for a layer
// has it soon. The state of a hybrid model comes before all rows.
//
// Thread   one at a time
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
#include "client_lib/src/fetch_by_copy.h"
#include "client_lib/src/fetch_state.h"
#include "client_lib/src/lease_queue.h"
#include "client_lib/src/plan_impl.h"
#include "client_lib/src/rates.h"
#include "client_lib/src/span_mover.h"
#include "client_lib/src/state_fetch.h"

namespace cistern::client {

struct FetchJob {
  std::unique_ptr<PlanImpl> plan;
  Destination destination;
  std::function<void(uint32_t)> on_layer;
  StateView target_state;  // of a hybrid model
  StateConstants constants;
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;
  std::shared_ptr<FetchState> state;
};

class FetchRun {
 public:
  FetchRun(FetchJob* job, Counters* counters, Rates* rates);

  // All that it needs lies leased in the node's memory: it waits for bytes at most.
  bool immediate() const;

  // Asks for what lies on disk without waiting for it, before RunTo: the node reads while a thread
  // is woken. Nothing where the state of a hybrid model comes first.
  void AskAhead();

  // Goes on until `layers` layers are announced. True: all is settled, or nobody wants it any more;
  // the state has been finished, and this is not to be called again. What is not immediate() is
  // always run to its end; what is, on a fetch thread (`patient`) as well. A caller may return
  // sooner, when he would have to wait for what is not his.
  bool RunTo(uint32_t layers, bool patient);

  // Null: nothing is reused. Leases of the last pass are left to GiveBackLate.
  const std::shared_ptr<Session>& session() const { return plan_.session; }

 private:
  struct SpanWork {
    std::optional<SpanMover> mover;
    bool lost = false;
  };

  // A pass over rows in place, and how far it has come.
  struct InPlace {
    std::vector<uint32_t> objects;
    std::vector<std::vector<const std::byte*>> pages;  // per object
    bool last = false;
    uint32_t next_layer = 0;
    uint64_t step_bytes = 0;
  };

  bool RunImmediate(uint32_t layers, bool patient);
  void StartImmediate(bool whole);
  void MoveState();
  void Finish();
  void Prepare();
  // Objects of the plan that are leased, or are not.
  std::vector<uint32_t> Objects(bool leased) const;
  void LeaseAndMove();
  std::vector<uint32_t> FinishLeases(LeaseQueue* queue);

  // Moves all rows of `objects`, which are leased, and gives the leases back. `last`: their layers
  // are announced, and the leases go back later.
  void Pass(const std::vector<uint32_t>& objects, bool last);
  InPlace StartInPlace(const std::vector<uint32_t>& objects, bool last);
  // True when `pass` is over: moved, or not wanted.
  bool MoveInPlace(InPlace* pass, uint32_t layers);

  // ---- By copy (fetch_by_copy.cc)
  std::unique_ptr<ByCopy> StartByCopy(const std::vector<uint32_t>& objects, bool last,
                                      const UnitCut& cut);
  // True when `pass` is over: moved, or not wanted, and nothing of it in flight.
  bool MoveByCopy(ByCopy* pass, uint32_t layers, bool patient);
  bool StartUnit(ByCopy* pass, bool patient);
  bool AwaitUnit(const ByCopy& pass, bool patient);
  void FinishUnit(ByCopy* pass);
  void LoseUnit(const ByCopy& pass, const TransferUnit& unit);

  std::vector<transport::LeaseId> TakeLeases(const std::vector<uint32_t>& objects);
  void CountRate(const std::vector<uint32_t>& objects, absl::Duration took);
  void AnnounceAll();
  void Announce(uint32_t layers);

  // Both within a step.
  void MoveRows(uint32_t object, const kernels::SegmentRows& source, uint32_t layer_begin,
                uint32_t layer_end);
  void CheckStale(uint32_t object);
  void DeviceFailed(const absl::Status& why);
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
  uint64_t disk_bytes_ = 0;                      // leased from there
  std::vector<bool> from_disk_;                  // per object of the plan
  std::optional<StateFetch> state_fetch_;        // until it has run
  std::vector<uint32_t> immediate_objects_;      // of the pass that is under way,
  std::optional<InPlace> in_place_;              // which is one of these two
  std::unique_ptr<ByCopy> by_copy_;
  std::optional<LeaseQueue> asked_;  // from AskAhead on
  absl::Duration immediate_took_;
  bool device_failed_ = false;
  bool hopeless_ = false;  // the state is lost, and with it all rows
  uint32_t announced_ = 0;
  kernels::StoreHint stores_ = kernels::StoreHint::kAuto;
};

}  // namespace cistern::client
