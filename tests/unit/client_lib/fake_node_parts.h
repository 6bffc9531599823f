// What the files of FakeNode share.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

#include "tests/unit/client_lib/fake_node.h"

namespace cistern::testing {

inline constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;

inline uint32_t NumPages(uint32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

inline Reply Error(const absl::Status& status) { return transport::ErrorReply::From(status); }

}  // namespace cistern::testing
