#include "client_lib/src/blob_put.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "base/object.h"
#include "client_lib/src/blob_units.h"
#include "client_lib/src/pending_call.h"

namespace cistern::client {
namespace {

using transport::ReserveOutcome;
using transport::ReserveReply;

constexpr uint64_t kPutUnitBytes = 1 << 20;  // of one call, or one blob

class PutRun {
 public:
  PutRun(std::span<const NewBlob> blobs, absl::Time until, Session* session, Counters* counters,
         std::span<PutOutcome> outcomes)
      : blobs_(blobs),
        until_(until),
        session_(*session),
        counters_(*counters),
        outcomes_(outcomes) {}

  absl::Status Run() {
    const auto bytes_of = [&](size_t i) -> uint64_t { return blobs_[i].bytes.size(); };
    const auto start = [&](const BlobUnit& unit) { return StartReserve(unit); };
    const auto finish = [&](const BlobUnit& unit) { return Finish(unit); };
    return RunUnits({blobs_.size(), kPutUnitBytes, bytes_of, start, finish}, until_, session_);
  }

 private:
  transport::CallOptions Options(const BlobUnit& unit, uint64_t bytes) const {
    transport::CallOptions options;
    options.deadline = session_.CallDeadline(until_);
    options.send = {unit.buffer->bytes(bytes)};
    options.late = session_.KeepLate();
    return options;
  }
  // The call keeps the buffer until it has ended.
  std::shared_ptr<PendingCall> Start(const BlobUnit& unit, transport::Request request,
                                     transport::CallOptions options) {
    return PendingCall::Start(session_.link(), std::move(request), std::move(options),
                              [buffer = unit.buffer]() mutable { buffer.reset(); });
  }
  // Its reply; DeadlineExceeded at once when the deadline is over, whatever moves still.
  template <typename ReplyType>
  absl::StatusOr<ReplyType> Await(const std::shared_ptr<PendingCall>& call) {
    if (call->WaitUntil(until_)) return As<ReplyType>(call->Take());
    call->Abandon([late = session_.late_book()](const absl::StatusOr<transport::Reply>& reply) {
      if (reply.ok()) late->Add(*reply);
    });
    return absl::DeadlineExceededError("the node did not take the blobs in time");
  }

  std::shared_ptr<PendingCall> StartReserve(const BlobUnit& unit) {
    transport::ReserveRequest request;
    request.headers.reserve(unit.end - unit.begin);
    std::byte* to = unit.buffer->bytes(unit.bytes).data();
    for (size_t i = unit.begin; i < unit.end; ++i) {
      request.headers.push_back(HeaderOf(blobs_[i]));
      std::memcpy(to, blobs_[i].bytes.data(), blobs_[i].bytes.size());
      to += blobs_[i].bytes.size();
    }
    transport::CallOptions options = Options(unit, unit.bytes);
    request.payload_headers = static_cast<uint32_t>(request.headers.size());
    request.layer_end = 1;
    request.checksum = session_.Checksum(options.send);
    request.commit = true;
    return Start(unit, std::move(request), std::move(options));
  }

  static base::ObjectHeader HeaderOf(const NewBlob& blob) {
    base::ObjectHeader header;
    header.kind = base::ObjectKind::kBlob;
    header.tenant = blob.tenant;
    header.content = blob.key;
    header.blob_bytes = blob.bytes.size();
    return header;
  }

  absl::Status Finish(const BlobUnit& unit) {
    const auto reply = Await<ReserveReply>(unit.call);
    if (!reply.ok()) return Fatal(reply.status());
    if (reply->results.size() != unit.end - unit.begin) {
      session_.late_book()->Add(*reply);
      return absl::OkStatus();
    }
    std::vector<size_t> reserved;
    std::vector<transport::ReservationId> ids;
    for (size_t i = unit.begin; i < unit.end; ++i) {
      const transport::ReserveResult& result = reply->results[i - unit.begin];
      if (result.outcome == ReserveOutcome::kAlreadyHave) outcomes_[i] = PutOutcome::kHad;
      if (result.outcome != ReserveOutcome::kReserved) continue;
      reserved.push_back(i);
      ids.push_back(result.reservation);
    }
    if (ids.empty()) return absl::OkStatus();
    if (reply->written) {
      Settle(reserved, std::move(ids), reply->committed);
      return absl::OkStatus();
    }
    const auto committed = Write(unit, reserved, ids);
    Settle(reserved, std::move(ids), committed.value_or(0));
    return Fatal(committed.status());
  }

  // Those that were reserved, moved together in their buffer.
  absl::StatusOr<uint32_t> Write(const BlobUnit& unit, const std::vector<size_t>& reserved,
                                 const std::vector<transport::ReservationId>& ids) {
    std::byte* const buffer = unit.buffer->bytes(unit.bytes).data();
    uint64_t bytes = 0;
    for (const size_t i : reserved) {
      std::memcpy(buffer + bytes, blobs_[i].bytes.data(), blobs_[i].bytes.size());
      bytes += blobs_[i].bytes.size();
    }
    transport::CallOptions options = Options(unit, bytes);
    transport::WriteRequest request;
    request.reservations = ids;
    request.layer_end = 1;
    request.checksum = session_.Checksum(options.send);
    request.commit = true;
    const auto reply =
        Await<transport::WriteReply>(Start(unit, std::move(request), std::move(options)));
    if (!reply.ok()) return reply.status();
    return reply->committed;
  }

  // Which ones were not committed is not known, if some were: those that were take no notice of
  // being given up, and count as dropped.
  void Settle(const std::vector<size_t>& reserved, std::vector<transport::ReservationId> ids,
              uint32_t committed) {
    if (committed < ids.size()) return session_.Abort(std::move(ids));
    for (const size_t i : reserved) outcomes_[i] = PutOutcome::kStored;
  }

  // What ends the batch; anything else is counted, and costs single blobs.
  absl::Status Fatal(const absl::Status& status) {
    if (absl::IsDataLoss(status)) ++counters_.checksum_failures;
    return IsFatal(status) ? status : absl::OkStatus();
  }

  const std::span<const NewBlob> blobs_;
  const absl::Time until_;
  Session& session_;
  Counters& counters_;
  const std::span<PutOutcome> outcomes_;
};

}  // namespace

absl::Status PutBlobs(std::span<const NewBlob> blobs, absl::Time until, Session& session,
                      Counters* counters, std::span<PutOutcome> outcomes) {
  return PutRun(blobs, until, &session, counters, outcomes).Run();
}

}  // namespace cistern::client
