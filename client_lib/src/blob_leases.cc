#include "client_lib/src/blob_leases.h"

#include <algorithm>
#include <span>
#include <utility>

#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/pending_call.h"

namespace cistern::client {
namespace {

constexpr size_t kKeysPerFind = 1024;
constexpr size_t kLeasesPerCall = 1024;
constexpr uint32_t kMaxLeaseStalls = 6;
constexpr absl::Duration kFirstPause = absl::Milliseconds(1);

}  // namespace

transport::CallOptions BlobLeases::Options() const {
  transport::CallOptions options;
  options.deadline = session_->CallDeadline(until_);
  options.late = session_->KeepLate();
  return options;
}

absl::Status BlobLeases::Find(std::span<const base::Key> keys, bool lease) {
  blobs_.reserve(keys.size());
  for (size_t from = 0; from < keys.size(); from += kKeysPerFind) {
    CISTERN_RETURN_IF_ERROR(
        FindSome(keys.subspan(from, std::min(kKeysPerFind, keys.size() - from)), lease));
  }
  return absl::OkStatus();
}

absl::Status BlobLeases::FindSome(std::span<const base::Key> keys, bool lease) {
  transport::FindRequest request;
  request.lease = lease;
  request.neighbours = false;
  request.items.reserve(keys.size());
  for (const base::Key& key : keys) request.items.push_back({.content = key});
  CISTERN_ASSIGN_OR_RETURN(
      transport::FindReply reply,
      CallNow<transport::FindReply>(session_->link(), std::move(request), Options()));
  const auto fits = [&](const transport::FindResult& result) {
    return result.where == transport::Where::kMiss || result.object < reply.objects.size();
  };
  if (reply.results.size() != keys.size() || !std::ranges::all_of(reply.results, fits)) {
    session_->late_book()->Add(reply);
    return absl::InternalError("the node's answer to Find does not fit what was asked");
  }
  std::vector<bool> taken(reply.objects.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    FoundBlob blob;
    const transport::FindResult& result = reply.results[i];
    if (result.where != transport::Where::kMiss) {
      const transport::ObjectRef& object = reply.objects[result.object];
      blob.bytes = object.header.content == keys[i] ? object.header.blob_bytes : 0;
      blob.id = object.id;
      if (!taken[result.object]) {  // a name that is given twice is leased twice
        blob.lease = object.lease;
        const std::span<const base::BlockRef> blocks = reply.BlocksOf(object);
        blob.blocks.assign(blocks.begin(), blocks.end());
        taken[result.object] = true;
      }
    }
    blobs_.push_back(std::move(blob));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> BlobLeases::LeaseMore() {
  std::vector<size_t> window;
  for (uint64_t bytes = 0;
       next_ < blobs_.size() && bytes < kWindowBytes && window.size() < kLeasesPerCall; ++next_) {
    const FoundBlob& blob = blobs_[next_];
    if (blob.bytes == 0 || blob.lease != 0) continue;
    if (!window.empty() && bytes + blob.bytes > kWindowBytes) break;
    window.push_back(next_);
    bytes += blob.bytes;
  }
  if (window.empty()) return false;
  absl::Duration pause = kFirstPause;
  for (uint32_t stalls = 0;; ++stalls, pause *= 2) {
    std::vector<size_t> no_room;
    CISTERN_RETURN_IF_ERROR(Lease(window, &no_room));
    if (no_room.empty()) return true;
    if (stalls == kMaxLeaseStalls || absl::Now() + pause >= until_) {
      for (const size_t i : no_room) blobs_[i].bytes = 0;
      return true;
    }
    absl::SleepFor(pause);
    window = std::move(no_room);
  }
}

absl::Status BlobLeases::Lease(const std::vector<size_t>& window, std::vector<size_t>* no_room) {
  transport::LeaseRequest request;
  for (const size_t i : window) request.objects.push_back(blobs_[i].id);
  CISTERN_ASSIGN_OR_RETURN(
      transport::LeaseReply reply,
      CallNow<transport::LeaseReply>(session_->link(), std::move(request), Options()));
  if (reply.results.size() != window.size()) {
    session_->late_book()->Add(reply);
    return absl::InternalError("the node's answer to Lease has another number of results");
  }
  for (size_t i = 0; i < window.size(); ++i) {
    transport::LeaseResult& result = reply.results[i];
    FoundBlob& blob = blobs_[window[i]];
    if (result.outcome == transport::LeaseOutcome::kLeased && result.lease != 0) {
      blob.lease = result.lease;
      blob.blocks = std::move(result.blocks);
    } else if (result.outcome == transport::LeaseOutcome::kNoRoom) {
      no_room->push_back(window[i]);
    } else {
      blob.bytes = 0;
    }
  }
  return absl::OkStatus();
}

void BlobLeases::GiveBack() {
  std::vector<transport::LeaseId> leases;
  for (FoundBlob& blob : blobs_) {
    if (blob.lease == 0) continue;
    leases.push_back(std::exchange(blob.lease, 0));
    blob.bytes = 0;
  }
  if (!leases.empty()) session_->Release(std::move(leases));
}

}  // namespace cistern::client
