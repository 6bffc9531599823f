#include "cacheserver/service/write_job.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cacheserver/layout.h"
#include "transport/checksum.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;

// A client's unit. Moving so much takes a lane 35 us; to wake a copy thread for it, and the lane
// again, costs both sides more.
constexpr uint64_t kInlineBytes = 1 << 20;
constexpr uint64_t kInlineSlices = 4096;  // rows may be very short

// From BeginWrite to EndWrite.
class WriteJob : public std::enable_shared_from_this<WriteJob> {
 public:
  WriteJob(const Parts& parts, CallPtr call, WriteOrder order, WriteDone done)
      : parts_(parts), call_(std::move(call)), order_(std::move(order)), done_(std::move(done)) {}
  ~WriteJob() { End(absl::InternalError("the write was dropped")); }

  // Holds the blocks. On an error nothing is held.
  absl::Status Begin() {
    return parts_.store->With([&](Store& store) {
      absl::Status status = Hold(store);
      if (status.ok()) status = CheckLayerRange(order_.layers, objects_);
      if (status.ok()) status = CheckPayload();
      if (!status.ok()) LetGo(store);
      return status;
    });
  }

  // After Begin: little enough for whoever stands here, or moved on the lane in any case.
  bool Small() const {
    if (call_->lane_moves()) return true;
    uint64_t slices = 0;
    for (const PlacedObject& object : objects_)
      slices += uint64_t{order_.layers.end - order_.layers.begin} *
                PiecesOfLayer(object.shape, object.blocks.size());
    const bool few_bytes = call_->payload_follows() || call_->payload_bytes() <= kInlineBytes;
    return few_bytes && slices <= kInlineSlices;
  }

  // `copy_thread`: this is one.
  void Receive(bool copy_thread) {
    into_ = PayloadSlices(parts_.arena->data(), objects_, order_.layers);
    const auto here = copy_thread ? std::this_thread::get_id() : std::thread::id();
    call_->ReceivePayload(into_, [self = shared_from_this(), here](const absl::Status& status) {
      if (!status.ok() || self->order_.checksum == 0 ||
          self->call_->payload_bytes() <= Call::kChecksumHereBytes ||
          std::this_thread::get_id() == here) {
        return self->Received(status);
      }
      // A lane must not spend its time on checksums.
      if (!self->parts_.copy_pool->Post([self] { self->Received(absl::OkStatus()); }))
        self->Received(absl::ResourceExhaustedError("too many payloads wait for a copy thread"));
    });
  }

  // Lets the blocks go, commits what is to be, and says so. The first call counts.
  void End(absl::Status status) {
    if (std::exchange(ended_, true)) return;
    uint32_t committed = 0;
    parts_.store->With([&](Store& store) {
      if (status.ok()) status = Mark(store);
      const std::vector<transport::ReservationId> written = LetGo(store);
      if (status.ok() && order_.commit) committed = Commit(store, written);
    });
    done_(std::move(status), committed);
    if (committed == 0) return;
    parts_.KickDemoter();
    parts_.room->RoomCame();
  }

 private:
  absl::Status Hold(Store& store) {
    for (const transport::ReservationId id : order_.reservations) {
      CISTERN_ASSIGN_OR_RETURN(const base::ObjectHeader* header,
                               store.ReservedHeader(call_->session(), id));
      CISTERN_ASSIGN_OR_RETURN(const ObjectShape shape,
                               ShapeOf(store, *header, parts_.blob_block_bytes));
      CISTERN_ASSIGN_OR_RETURN(std::vector<base::BlockRef> blocks,
                               store.BeginWrite(call_->session(), id));
      objects_.push_back({shape, std::move(blocks)});
      held_.push_back(id);
    }
    return absl::OkStatus();
  }

  absl::Status CheckPayload() const {
    const uint64_t bytes = PayloadBytes(order_.layers, objects_);
    if (bytes == call_->payload_bytes()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of ", call_->payload_bytes(), " bytes for rows of ", bytes));
  }

  void Received(absl::Status status) {
    if (status.ok() && order_.checksum != 0 &&
        transport::PayloadChecksum(into_) != order_.checksum) {
      status = absl::DataLossError("the payload's checksum does not match: write it again");
    }
    End(std::move(status));
  }

  absl::Status Mark(Store& store) {
    for (const transport::ReservationId id : held_)
      CISTERN_RETURN_IF_ERROR(
          store.MarkWritten(call_->session(), id, order_.layers.begin, order_.layers.end));
    return absl::OkStatus();
  }

  std::vector<transport::ReservationId> LetGo(Store& store) {
    std::vector<transport::ReservationId> held = std::exchange(held_, {});
    for (const transport::ReservationId id : held) store.EndWrite(id);
    return held;
  }

  uint32_t Commit(Store& store, const std::vector<transport::ReservationId>& written) const {
    uint32_t committed = 0;
    for (const transport::ReservationId id : written) {
      if (!store.MayCommit(call_->session(), id)) continue;
      if (parts_.sessions->Commit(store, call_->session(), id, parts_.Now()).ok()) ++committed;
    }
    return committed;
  }

  const Parts& parts_;
  const CallPtr call_;
  const WriteOrder order_;
  WriteDone done_;
  std::vector<PlacedObject> objects_;
  std::vector<transport::ReservationId> held_;
  std::vector<transport::MutableSlice> into_;
  bool ended_ = false;
};

}  // namespace

void StartWrite(const Parts& parts, const CallPtr& call, WriteOrder order, WriteDone done) {
  auto job = std::make_shared<WriteJob>(parts, call, std::move(order), std::move(done));
  if (absl::Status begun = job->Begin(); !begun.ok()) return job->End(std::move(begun));
  if (job->Small()) return job->Receive(/*copy_thread=*/false);
  if (!parts.copy_pool->Post([job] { job->Receive(/*copy_thread=*/true); }))
    job->End(absl::ResourceExhaustedError("too many payloads wait for a copy thread: back off"));
}

}  // namespace cistern::cacheserver
