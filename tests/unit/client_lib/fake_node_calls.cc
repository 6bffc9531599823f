// FakeNode: leases, rows out, rows in.
#include <algorithm>
#include <cstring>
#include <utility>

#include "tests/unit/client_lib/fake_node.h"
#include "tests/unit/client_lib/fake_node_parts.h"

namespace cistern::testing {

using transport::CallOptions;

namespace {

// Walks over a list of slices.
class Cursor {
 public:
  template <typename S>
  explicit Cursor(const std::vector<S>& slices) {
    for (const S& slice : slices) {
      at_.push_back({const_cast<std::byte*>(slice.data()), slice.size()});
    }
  }
  uint64_t left() const {
    uint64_t bytes = 0;
    for (const auto& slice : at_) bytes += slice.size();
    return bytes;
  }
  void Copy(std::byte* row, size_t bytes, bool to_slices) {
    while (bytes > 0) {
      const size_t part = std::min(bytes, at_.front().size());
      std::memcpy(to_slices ? at_.front().data() : row, to_slices ? row : at_.front().data(), part);
      row += part;
      bytes -= part;
      at_.front() = at_.front().subspan(part);
      if (at_.front().empty()) at_.pop_front();
    }
  }

 private:
  std::deque<std::span<std::byte>> at_;
};

}  // namespace

Reply FakeNode::On(const transport::LeaseRequest& request, const CallOptions&) {
  transport::LeaseReply reply;
  for (ObjectId id : request.objects) {
    transport::LeaseResult result;
    const auto it = objects_.find(id);
    if (it != objects_.end() && it->second.committed) {
      Stored& stored = it->second;
      result.from_disk = stored.blocks.empty();
      if (result.from_disk) {
        stored.blocks = Allocate(NumBlocks(stored.header));
        const uint64_t page_bytes = options_.model.page_bytes();
        for (size_t i = 0; i < stored.blocks.size(); ++i) {
          std::memcpy(Page(stored.blocks[i]), stored.disk.data() + i * page_bytes, page_bytes);
        }
      }
      if (stored.blocks.empty()) {
        result.outcome = transport::LeaseOutcome::kNoRoom;
      } else {
        result.outcome = transport::LeaseOutcome::kLeased;
        result.lease = NewLease(id);
        result.blocks = stored.blocks;
      }
    }
    reply.results.push_back(std::move(result));
  }
  return reply;
}

Reply FakeNode::On(const transport::ReleaseRequest& request, const CallOptions&) {
  for (LeaseId lease : request.leases) {
    const auto it = leases_.find(lease);
    if (it == leases_.end()) continue;
    if (const auto object = objects_.find(it->second); object != objects_.end()) {
      --object->second.leases;
    }
    leases_.erase(it);
    ++num_released_;
  }
  return transport::ReleaseReply{};
}

uint64_t FakeNode::ReadBytes(const transport::ReadRequest& request) {
  base::MutexLock lock(&mutex_);
  uint64_t bytes = 0;
  for (LeaseId lease : request.leases) {
    const auto it = leases_.find(lease);
    const auto object = it == leases_.end() ? objects_.end() : objects_.find(it->second);
    if (object == objects_.end()) continue;
    for (uint32_t layer = request.layer_begin; layer < request.layer_end; ++layer) {
      bytes += LayerBytes(object->second.header, layer);
    }
  }
  return bytes;
}

Reply FakeNode::On(const transport::ReadRequest& request, const CallOptions& options) {
  Cursor out(options.receive);
  transport::ReadReply reply;
  reply.payload_bytes = out.left();
  for (uint32_t layer = request.layer_begin; layer < request.layer_end; ++layer) {
    for (LeaseId lease : request.leases) {
      const auto it = leases_.find(lease);
      if (it == leases_.end() || objects_.count(it->second) == 0) {
        return Error(absl::NotFoundError("no such lease"));
      }
      ForEachPart(objects_.at(it->second), layer, [&](std::byte* bytes, size_t size) {
        out.Copy(bytes, size, /*to_slices=*/true);
      });
    }
  }
  if (out.left() != 0) return Error(absl::InvalidArgumentError("the buffer is too large"));
  return reply;
}

// ---- Publishing

Reply FakeNode::On(const transport::ReserveRequest& request, const CallOptions& options) {
  transport::ReserveReply reply;
  std::vector<ReservationId> reserved;
  for (const base::ObjectHeader& header : request.headers) {
    if (models_.count(header.model) == 0) {
      return Error(absl::FailedPreconditionError("unknown model"));
    }
    if (absl::Status valid = header.Validate(); !valid.ok()) return Error(valid);
    transport::ReserveResult result;
    const std::vector<ObjectId>& same = by_content_[header.content];
    const bool had = std::any_of(same.begin(), same.end(), [&](ObjectId id) {
      return objects_.at(id).header.context == header.context;
    });
    if (had) {
      result.outcome = transport::ReserveOutcome::kAlreadyHave;
    } else if (NumBlocks(header) > options_.num_pages) {
      result.outcome = transport::ReserveOutcome::kTooLarge;
    } else if (auto blocks = Allocate(NumBlocks(header)); !blocks.empty()) {
      const ObjectId id = next_id_++;
      objects_[id].header = header;
      objects_[id].blocks = std::move(blocks);
      result.outcome = transport::ReserveOutcome::kReserved;
      result.reservation = next_id_++;
      reservations_[result.reservation] = id;
      reserved.push_back(result.reservation);
    }
    reply.results.push_back(result);
  }
  if (request.payload_headers > 0 && reserved.size() == request.headers.size() && !write_later) {
    reserved.resize(request.payload_headers);
    CopyIn(reserved, 0, request.layer_end, options);
    reply.written = true;
    if (request.commit) reply.committed = CommitComplete(reserved);
  }
  return reply;
}

bool FakeNode::CopyIn(const std::vector<ReservationId>& reservations, uint32_t layer_begin,
                      uint32_t layer_end, const CallOptions& options) {
  Cursor in(options.send);
  for (uint32_t layer = layer_begin; layer < layer_end; ++layer) {
    for (ReservationId reservation : reservations) {
      const auto it = reservations_.find(reservation);
      if (it == reservations_.end()) return false;
      Stored& stored = objects_.at(it->second);
      stored.layers_written.insert(layer);
      ForEachPart(stored, layer, [&](std::byte* bytes, size_t size) {
        in.Copy(bytes, size, /*to_slices=*/false);
      });
    }
  }
  return true;
}

uint32_t FakeNode::CommitComplete(const std::vector<ReservationId>& reservations) {
  uint32_t committed = 0;
  for (ReservationId reservation : reservations) {
    const auto it = reservations_.find(reservation);
    if (it == reservations_.end()) continue;
    const ObjectId id = it->second;
    Stored& stored = objects_.at(id);
    if (never_commit || stored.layers_written.size() != NumLayers(stored.header)) continue;
    if (!HasBase(stored.header)) continue;
    reservations_.erase(it);
    stored.committed = true;
    by_content_[stored.header.content].push_back(id);
    by_context_[stored.header.context].push_back(id);
    by_parent_[stored.header.parent_context].push_back(id);
    ++committed;
  }
  return committed;
}

Reply FakeNode::On(const transport::WriteRequest& request, const CallOptions& options) {
  if (!CopyIn(request.reservations, request.layer_begin, request.layer_end, options)) {
    return Error(absl::NotFoundError("no such reservation"));
  }
  transport::WriteReply reply;
  if (request.commit) reply.committed = CommitComplete(request.reservations);
  return reply;
}

Reply FakeNode::On(const transport::CommitRequest& request, const CallOptions&) {
  transport::CommitReply reply{CommitComplete(request.reservations)};
  if (reply.committed == request.reservations.size()) return reply;
  return Error(absl::FailedPreconditionError("a layer was never written"));
}

Reply FakeNode::On(const transport::AbortRequest& request, const CallOptions&) {
  for (ReservationId reservation : request.reservations) {
    const auto it = reservations_.find(reservation);
    if (it == reservations_.end()) continue;
    Free(&objects_.at(it->second).blocks);
    objects_.erase(it->second);
    reservations_.erase(it);
  }
  return transport::AbortReply{};
}

Reply FakeNode::On(const transport::LinkRequest& request, const CallOptions&) {
  transport::LinkReply reply;
  for (const transport::LinkItem& item : request.items) {
    const auto it = objects_.find(item.object);
    if (it == objects_.end() || !it->second.committed) continue;
    it->second.links.emplace_back(item.context, item.parent_context);
    by_context_[item.context].push_back(item.object);
    by_parent_[item.parent_context].push_back(item.object);
    ++reply.linked;
  }
  return reply;
}

}  // namespace cistern::testing
