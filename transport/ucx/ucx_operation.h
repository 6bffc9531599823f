// One transfer that UCX has under way, and what it needs to stay where it is until it ends.
// Included by ucx_connection*.cc only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "ucp/api/ucp.h"

#include "transport/slice.h"
#include "transport/ucx/ucx_connection.h"

namespace cistern::transport {

struct UcxConnection::Operation {
  std::shared_ptr<UcxConnection> connection;
  MonoTime begun = MonoNow();
  std::string header;
  std::string body;  // a long message, sent or received
  std::vector<ucp_dt_iov_t> pieces;
  absl::AnyInvocable<void(Operation& self, absl::Status)> done;

  void Add(const void* address, size_t bytes) {
    if (bytes == 0) return;
    if (!pieces.empty()) {
      ucp_dt_iov_t& last = pieces.back();
      if (static_cast<const std::byte*>(last.buffer) + last.length == address) {
        last.length += bytes;
        return;
      }
    }
    pieces.push_back({const_cast<void*>(address), bytes});
  }
  template <typename S>
  void Add(const std::vector<S>& slices) {
    for (const S& slice : slices) Add(slice.data(), slice.size());
  }

  uint64_t bytes() const {
    uint64_t total = 0;
    for (const ucp_dt_iov_t& piece : pieces) total += piece.length;
    return total;
  }

  // What ucp_am_send_nbx and ucp_am_recv_data_nbx want to know.
  void* buffer() {
    if (pieces.size() > 1) return pieces.data();
    return pieces.empty() ? nullptr : pieces[0].buffer;
  }
  size_t count() const {
    if (pieces.size() > 1) return pieces.size();
    return pieces.empty() ? 0 : pieces[0].length;
  }
  ucp_datatype_t datatype() const {
    return pieces.size() > 1 ? ucp_dt_make_iov() : ucp_dt_make_contig(1);
  }
};

}  // namespace cistern::transport
