#include "tools/bench/measure_command.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kMaxRounds = 1000;

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
      return 1;
    case absl::StatusCode::kDataLoss:
      return 2;
    default:
      return 3;
  }
}

}  // namespace

absl::StatusOr<uint32_t> CheckedRounds(uint32_t rounds) {
  if (rounds == 0 || rounds > kMaxRounds)
    return absl::InvalidArgumentError("--rounds: from 1 to 1000");
  return rounds;
}

int EndMeasuring(absl::string_view command, const absl::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "cistern-bench %s: %s\n", std::string(command).c_str(),
                 std::string(status.message()).c_str());
  }
  return ExitCode(status);
}

}  // namespace cistern::tools
