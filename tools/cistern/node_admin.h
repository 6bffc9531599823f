// A connection to a node for administration.
//
// Errors   Unavailable, DeadlineExceeded: no node answers at the address; the text says what to do
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "transport/link.h"

namespace cistern::tools {

class NodeAdmin {
 public:
  static absl::StatusOr<std::unique_ptr<NodeAdmin>> Connect(const std::string& address,
                                                            absl::Duration deadline);

  // One question, one JSON object.
  absl::StatusOr<std::string> Ask(const transport::AdminRequest& request);

 private:
  NodeAdmin(std::unique_ptr<transport::Link> link, absl::Duration deadline)
      : link_(std::move(link)), deadline_(deadline) {}

  std::unique_ptr<transport::Link> link_;
  const absl::Duration deadline_;
};

}  // namespace cistern::tools
