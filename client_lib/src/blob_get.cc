#include "client_lib/src/blob_get.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/time/clock.h"

#include "client_lib/src/blob_units.h"
#include "client_lib/src/mapped_blocks.h"
#include "client_lib/src/pending_call.h"

namespace cistern::client {
namespace {

constexpr uint64_t kGetUnitBytes = 4 << 20;  // of one Read, or one blob

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

std::shared_ptr<PendingCall> StartRead(const std::vector<BlobCopy>& copies, const BlobUnit& unit,
                                       absl::Time until, Session& session) {
  transport::ReadRequest request;
  request.layer_end = 1;
  for (size_t i = unit.begin; i < unit.end; ++i) request.leases.push_back(copies[i].blob->lease);
  transport::CallOptions options;
  options.deadline = session.CallDeadline(until);
  options.receive = {unit.buffer->bytes(unit.bytes)};
  return PendingCall::Start(session.link(), std::move(request), std::move(options));
}

absl::Status FinishRead(const BlobUnit& unit, std::vector<BlobCopy>* copies, Counters* counters) {
  unit.call->Wait();
  const auto reply = As<transport::ReadReply>(unit.call->Take());
  if (absl::IsDataLoss(reply.status())) ++counters->checksum_failures;
  if (IsFatal(reply.status())) return reply.status();
  if (!reply.ok() || reply->payload_bytes != unit.bytes) return absl::OkStatus();
  const std::byte* from = unit.buffer->bytes(unit.bytes).data();
  for (size_t i = unit.begin; i < unit.end; ++i) {
    BlobCopy& copy = (*copies)[i];
    std::memcpy(copy.to.data(), from, copy.to.size());
    from += copy.to.size();
    copy.done = true;
  }
  return absl::OkStatus();
}

absl::Status CopyByReads(std::vector<BlobCopy>* copies, absl::Time until, Session& session,
                         Counters* counters) {
  const auto bytes_of = [&](size_t i) -> uint64_t { return (*copies)[i].to.size(); };
  const auto start = [&](const BlobUnit& unit) { return StartRead(*copies, unit, until, session); };
  const auto finish = [&](const BlobUnit& unit) { return FinishRead(unit, copies, counters); };
  return RunUnits({copies->size(), kGetUnitBytes, bytes_of, start, finish}, until, session);
}

}  // namespace

absl::Status CopyBlobs(std::vector<BlobCopy>* copies, absl::Time until, Session& session,
                       Counters* counters) {
  if (!session.mapped()) return CopyByReads(copies, until, session, counters);
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
