#include "client_lib/src/blob_get.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

#include "absl/time/clock.h"

#include "client_lib/src/mapped_blocks.h"
#include "client_lib/src/pending_call.h"

namespace cistern::client {
namespace {

constexpr uint64_t kGetUnitBytes = 4 << 20;  // of one Read, or one blob
constexpr size_t kGetUnitBlobs = 1024;
constexpr size_t kGetsInFlight = 3;

void CopyMapped(BlobCopy* copy, Session& session, Counters* counters) {
  const FoundBlob& blob = *copy->blob;
  std::byte* to = copy->to.data();
  const std::vector<transport::Slice> runs = BlobRuns(blob, session);
  if (runs.empty()) return;
  for (const transport::Slice& run : runs) {
    std::memcpy(to, run.data(), run.size());
    to += run.size();
  }
  copy->done = StillThere(session.link(), session.incarnation(), blob.blocks);
  if (!copy->done) ++counters->stale_reads;
}

struct GetUnit {
  size_t begin = 0, end = 0;  // of the copies
  uint64_t bytes = 0;
  std::shared_ptr<Staging::Lent> buffer;
  std::shared_ptr<PendingCall> call;
};

class ByCopy {
 public:
  ByCopy(std::vector<BlobCopy>* copies, absl::Time until, Session& session, Counters* counters)
      : copies_(*copies), until_(until), session_(session), counters_(*counters) {}

  absl::Status Run() {
    size_t next = 0;
    while (next < copies_.size() || !flying_.empty()) {
      const bool more = next < copies_.size() && fatal_.ok();
      if (more && flying_.size() < kGetsInFlight && StartAt(&next)) continue;
      if (flying_.empty()) break;
      FinishOldest();
    }
    return fatal_;
  }

 private:
  GetUnit UnitAt(size_t begin) const {
    GetUnit unit{.begin = begin, .end = begin};
    do {
      unit.bytes += copies_[unit.end++].to.size();
    } while (unit.end < copies_.size() && unit.end - begin < kGetUnitBlobs &&
             unit.bytes + copies_[unit.end].to.size() <= kGetUnitBytes);
    return unit;
  }

  // False: no buffer is free now; there will be, when a unit is done.
  bool StartAt(size_t* next) {
    GetUnit unit = UnitAt(*next);
    auto buffer = flying_.empty() ? session_.staging().Take(unit.bytes, until_)
                                  : session_.staging().TryTake(unit.bytes);
    if (!buffer.ok() && !flying_.empty()) return false;
    *next = unit.end;
    if (!buffer.ok()) {
      fatal_.Update(buffer.status());
      return true;
    }
    unit.buffer = std::make_shared<Staging::Lent>(*std::move(buffer));
    transport::ReadRequest request;
    request.layer_end = 1;
    for (size_t i = unit.begin; i < unit.end; ++i) request.leases.push_back(copies_[i].blob->lease);
    transport::CallOptions options;
    options.deadline = session_.CallDeadline(until_);
    options.receive = {unit.buffer->bytes(unit.bytes)};
    unit.call = PendingCall::Start(session_.link(), std::move(request), std::move(options));
    flying_.push_back(std::move(unit));
    return true;
  }

  void FinishOldest() {
    GetUnit unit = std::move(flying_.front());
    flying_.pop_front();
    unit.call->Wait();
    const auto reply = As<transport::ReadReply>(unit.call->Take());
    if (absl::IsDataLoss(reply.status())) ++counters_.checksum_failures;
    if (IsFatal(reply.status())) fatal_.Update(reply.status());
    if (!reply.ok() || reply->payload_bytes != unit.bytes) return;
    const std::byte* from = unit.buffer->bytes(unit.bytes).data();
    for (size_t i = unit.begin; i < unit.end; ++i) {
      std::memcpy(copies_[i].to.data(), from, copies_[i].to.size());
      from += copies_[i].to.size();
      copies_[i].done = true;
    }
  }

  std::vector<BlobCopy>& copies_;
  const absl::Time until_;
  Session& session_;
  Counters& counters_;
  std::deque<GetUnit> flying_;
  absl::Status fatal_;
};

}  // namespace

absl::Status CopyBlobs(std::vector<BlobCopy>* copies, absl::Time until, Session& session,
                       Counters* counters) {
  if (!session.mapped()) return ByCopy(copies, until, session, counters).Run();
  for (BlobCopy& copy : *copies) {
    if (absl::Now() > until)
      return absl::DeadlineExceededError("not all blobs were copied in time");
    CopyMapped(&copy, session, counters);
  }
  return absl::OkStatus();
}

std::vector<transport::Slice> BlobRuns(const FoundBlob& blob, Session& session) {
  const uint64_t block_bytes = session.link().node().blob_block_bytes;
  std::vector<transport::Slice> runs;
  if (block_bytes == 0 || blob.blocks.size() != (blob.bytes + block_bytes - 1) / block_bytes ||
      !LieWithin(session.link(), block_bytes, blob.blocks)) {
    return runs;
  }
  uint64_t left = blob.bytes;
  for (const base::BlockRef& block : blob.blocks) {
    const std::byte* const at = session.link().arena() + block.offset;
    const uint64_t bytes = std::min(left, block_bytes);
    left -= bytes;
    if (!runs.empty() && runs.back().data() + runs.back().size() == at) {
      runs.back() = {runs.back().data(), runs.back().size() + bytes};
    } else {
      runs.emplace_back(at, bytes);
    }
  }
  return runs;
}

}  // namespace cistern::client
