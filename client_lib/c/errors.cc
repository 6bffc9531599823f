// Codes, text, versions.
#include <string>

#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

static_assert(CISTERN_UNAVAILABLE == static_cast<int>(absl::StatusCode::kUnavailable) &&
              CISTERN_DATA_LOSS == static_cast<int>(absl::StatusCode::kDataLoss) &&
              CISTERN_UNIMPLEMENTED == static_cast<int>(absl::StatusCode::kUnimplemented) &&
              CISTERN_RESOURCE_EXHAUSTED == static_cast<int>(absl::StatusCode::kResourceExhausted));

const char* NameOf(int32_t code) {
  switch (code) {
    case CISTERN_OK:
      return "OK";
    case CISTERN_CANCELLED:
      return "CANCELLED";
    case CISTERN_INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case CISTERN_DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case CISTERN_NOT_FOUND:
      return "NOT_FOUND";
    case CISTERN_PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case CISTERN_RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case CISTERN_FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case CISTERN_ABORTED:
      return "ABORTED";
    case CISTERN_UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case CISTERN_INTERNAL:
      return "INTERNAL";
    case CISTERN_UNAVAILABLE:
      return "UNAVAILABLE";
    case CISTERN_DATA_LOSS:
      return "DATA_LOSS";
    default:
      return "UNKNOWN";
  }
}

}  // namespace

int32_t Report(const absl::Status& status, cistern_error* error) {
  const auto code = static_cast<int32_t>(status.code());
  if (error != nullptr) {
    error->code = code;
    const size_t bytes = std::min(status.message().size(), sizeof(error->message) - 1);
    std::copy_n(status.message().begin(), bytes, error->message);
    error->message[bytes] = '\0';
  }
  return code;
}

}  // namespace cistern::c

const char* cistern_version(void) { return CISTERN_VERSION; }
uint32_t cistern_abi_version(void) { return CISTERN_ABI_VERSION; }
const char* cistern_code_name(int32_t code) { return cistern::c::NameOf(code); }
