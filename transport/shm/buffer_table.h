// The node's view of one worker's buffers: which there are, and where their bytes lie here.
//
// Thread   the session's lane. What Resolve hands out may be used on any thread: it keeps the
//          mappings alive
// Errors   InvalidArgument for whatever a worker of ours would never send. ResourceExhausted when
//          the session, or all of them, would map more than they may
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "transport/shm/byte_budget.h"
#include "transport/shm/frame.h"
#include "transport/shm/memfd.h"
#include "transport/shm/tickets.h"
#include "transport/shm/unique_fd.h"
#include "transport/slice.h"

namespace cistern::transport {

// A call's payloads, in memory that this process has mapped.
struct ResolvedPayload {
  std::vector<Slice> send;
  std::vector<MutableSlice> receive;
  std::shared_ptr<Mapping> tickets;  // with receive slices, or where the call has a ticket
  Ticket ticket;
  bool follow = false;  // `send` is still being written; it is not empty, and there is a ticket
  std::vector<std::shared_ptr<Mapping>> keep;  // what the slices lie in
};

class BufferTable {
 public:
  // What is mapped counts towards both until nothing uses it any more. `all`: of the whole server.
  explicit BufferTable(std::shared_ptr<ByteBudget> all = nullptr, uint64_t limit = kMaxSessionBytes)
      : all_(all != nullptr ? std::move(all) : std::make_shared<ByteBudget>(limit)),
        own_(std::make_shared<ByteBudget>(limit)) {}

  // A memfd of the worker's, checked (memfd.h) and mapped.
  absl::Status Add(const BufferNotice& notice, UniqueFd fd);
  absl::Status Drop(const BufferNotice& notice);
  absl::Status SetTickets(const BufferNotice& notice, UniqueFd fd);

  // Takes a message frame's table and slices off the front of `body` and finds the memory behind
  // them.
  absl::StatusOr<ResolvedPayload> Resolve(std::span<const std::byte>* body) const;

  size_t size() const { return buffers_.size(); }

 private:
  absl::StatusOr<std::shared_ptr<Mapping>> Map(int fd, uint64_t bytes);
  absl::StatusOr<MutableSlice> ResolveOne(const WireSlice& slice, ResolvedPayload* payload) const;

  const std::shared_ptr<ByteBudget> all_, own_;
  absl::flat_hash_map<uint32_t, std::shared_ptr<Mapping>> buffers_;
  std::shared_ptr<Mapping> tickets_;
};

}  // namespace cistern::transport
