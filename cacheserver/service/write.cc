// Write: a payload into reserved blocks. The blocks stay from BeginWrite to EndWrite, whoever dies.
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "cacheserver/layout.h"
#include "cacheserver/service/handlers.h"
#include "cacheserver/service/layer_range.h"
#include "transport/checksum.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using transport::WriteRequest;

LayerRange RangeOf(const WriteRequest& request) { return {request.layer_begin, request.layer_end}; }

// One Write call, from BeginWrite to EndWrite.
class WriteJob : public std::enable_shared_from_this<WriteJob> {
 public:
  WriteJob(const Parts& parts, CallPtr call)
      : parts_(parts), call_(std::move(call)), request_(call_->request<WriteRequest>()) {}
  ~WriteJob() { End(absl::InternalError("the write was dropped")); }

  // Holds the blocks. On an error nothing is held.
  absl::Status Begin() {
    return parts_.store->With([&](Store& store) {
      absl::Status status = Hold(store);
      if (status.ok()) status = CheckLayerRange(RangeOf(request_), objects_);
      if (status.ok()) status = CheckPayload();
      if (!status.ok()) LetGo(store);
      return status;
    });
  }

  // On a copy thread.
  void Receive() {
    into_ = PayloadSlices(parts_.arena->data(), objects_, RangeOf(request_));
    const std::thread::id copy_thread = std::this_thread::get_id();
    call_->ReceivePayload(into_, [self = shared_from_this(),
                                  copy_thread](const absl::Status& status) {
      if (!status.ok() || self->request_.checksum == 0 ||
          std::this_thread::get_id() == copy_thread) {
        return self->Received(status);
      }
      // A lane must not spend its time on checksums.
      if (!self->parts_.copy_pool->Post([self] { self->Received(absl::OkStatus()); }))
        self->Received(absl::ResourceExhaustedError("too many payloads wait for a copy thread"));
    });
  }

  // Lets the blocks go and answers. The first call counts.
  void End(absl::Status status) {
    if (std::exchange(ended_, true)) return;
    parts_.store->With([&](Store& store) {
      if (status.ok()) status = Mark(store);
      LetGo(store);
    });
    if (!status.ok()) return call_->Fail(status);
    call_->Answer(transport::WriteReply{});
  }

 private:
  absl::Status Hold(Store& store) {
    for (const transport::ReservationId id : request_.reservations) {
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
    const uint64_t bytes = PayloadBytes(RangeOf(request_), objects_);
    if (bytes == call_->payload_bytes()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of ", call_->payload_bytes(), " bytes for rows of ", bytes));
  }

  void Received(absl::Status status) {
    if (status.ok() && request_.checksum != 0 &&
        transport::PayloadChecksum(into_) != request_.checksum) {
      status = absl::DataLossError("the payload's checksum does not match: write it again");
    }
    End(std::move(status));
  }

  absl::Status Mark(Store& store) {
    for (const transport::ReservationId id : held_)
      CISTERN_RETURN_IF_ERROR(
          store.MarkWritten(call_->session(), id, request_.layer_begin, request_.layer_end));
    return absl::OkStatus();
  }

  void LetGo(Store& store) {
    for (const transport::ReservationId id : std::exchange(held_, {})) store.EndWrite(id);
  }

  const Parts& parts_;
  const CallPtr call_;
  const WriteRequest& request_;
  std::vector<PlacedObject> objects_;
  std::vector<transport::ReservationId> held_;
  std::vector<transport::MutableSlice> into_;
  bool ended_ = false;
};

}  // namespace

void HandleWrite(const Parts& parts, const CallPtr& call) {
  auto job = std::make_shared<WriteJob>(parts, call);
  if (absl::Status begun = job->Begin(); !begun.ok()) return job->End(begun);
  if (!parts.copy_pool->Post([job] { job->Receive(); }))
    job->End(absl::ResourceExhaustedError("too many payloads wait for a copy thread: back off"));
}

}  // namespace cistern::cacheserver
