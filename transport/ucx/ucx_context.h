// UCX's context: which devices there are, and the memory that is registered with them. One per
// server and one per link; its workers (ucx_worker.h) each belong to one lane.
//
// Our settings are given to UCX here (README.md has the measurements behind them). A setting that
// the environment names (UCX_TCP_TX_SEG_SIZE=...) stays the environment's: it is never written, and
// an operator can still tune.
//
// Thread   any
// Errors   FailedPrecondition when UCX finds no transport it can use; ResourceExhausted
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include <sys/socket.h>

#include "absl/status/statusor.h"
#include "ucp/api/ucp.h"

namespace cistern::transport {

struct UcxSetting {
  const char* name;  // as ucp_config_modify wants it: without the transport's prefix
  const char* value;
};

// What a context sets: ours, without those that the environment names, and without socket buffers
// that are larger than the system allows (net.core.wmem_max, rmem_max).
std::vector<UcxSetting> UcxSettings(sa_family_t family);

class UcxContext {
 public:
  // For connections by addresses of this family: AF_INET or AF_INET6. (With one of
  // the other family, UCX 1.13 reads outside of its memory.)
  static absl::StatusOr<std::shared_ptr<UcxContext>> Create(sa_family_t family);
  ~UcxContext();
  UcxContext(const UcxContext&) = delete;
  UcxContext& operator=(const UcxContext&) = delete;

  ucp_context_h handle() const { return handle_; }

 private:
  explicit UcxContext(ucp_context_h handle) : handle_(handle) {}

  const ucp_context_h handle_;
};

// A range of memory that the devices know, so that a transfer does not have to tell them first.
// Where no device asks for it (TCP), it costs nothing. The memory stays the caller's, and outlives
// this.
class UcxMemory {
 public:
  static absl::StatusOr<std::unique_ptr<UcxMemory>> Register(std::shared_ptr<UcxContext> context,
                                                             void* address, size_t bytes);
  ~UcxMemory();
  UcxMemory(const UcxMemory&) = delete;
  UcxMemory& operator=(const UcxMemory&) = delete;

 private:
  UcxMemory(std::shared_ptr<UcxContext> context, ucp_mem_h handle)
      : context_(std::move(context)), handle_(handle) {}

  const std::shared_ptr<UcxContext> context_;
  const ucp_mem_h handle_;
};

}  // namespace cistern::transport
