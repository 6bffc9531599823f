#include "tools/bench/transfer/transfer_command.h"

#include <cstdio>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"

#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/transfer/transfer_run.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(std::string, server);
ABSL_FLAG(std::string, paths, "inplace,fetch,publish,tcp_fetch,tcp_publish,workers,disk,lookup",
          "transfer: which to measure");
ABSL_FLAG(
    std::string, sizes, "4KiB,64KiB,1MiB,4MiB,16MiB,64MiB,deepseek-v2-lite,deepseek-v3",
    "transfer, peers: of what is moved at once; a model's name stands for a segment of 128 tokens");
ABSL_FLAG(uint32_t, rounds, 5,
          "transfer, peers: of which the median is given, after one that warms up");
ABSL_FLAG(uint32_t, workers, 8, "transfer: how many fetch at once on the path workers");
ABSL_FLAG(bool, flip_a_byte, false,
          "transfer, peers: change one byte of what has come, to see that the check finds it");

namespace cistern::tools {
namespace {

constexpr uint32_t kMaxTransferRounds = 1000;

absl::StatusOr<TransferOptions> ChosenTransfers() {
  TransferOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.paths, ParseTransferPaths(absl::GetFlag(FLAGS_paths)));
  CISTERN_ASSIGN_OR_RETURN(options.shapes, ParseTransferShapes(absl::GetFlag(FLAGS_sizes)));
  options.rounds = absl::GetFlag(FLAGS_rounds);
  if (options.rounds == 0 || options.rounds > kMaxTransferRounds)
    return absl::InvalidArgumentError("--rounds: from 1 to 1000");
  options.workers = absl::GetFlag(FLAGS_workers);
  if (options.workers == 0 || options.workers > kMaxTransferWorkers)
    return absl::InvalidArgumentError("--workers: from 1 to 64");
  options.server = absl::GetFlag(FLAGS_server);
  options.flip_a_byte = absl::GetFlag(FLAGS_flip_a_byte);
  return options;
}

absl::Status RunChosenTransfers() {
  CISTERN_ASSIGN_OR_RETURN(const TransferOptions options, ChosenTransfers());
  const bool json = absl::GetFlag(FLAGS_json);
  if (!json) std::fputs(TransferTableHead().c_str(), stdout);
  return RunTransfers(options, [json](const TransferLine& line) {
    std::fputs((json ? ToJson(line) + "\n" : ToTableRow(line)).c_str(), stdout);
    std::fflush(stdout);
  });
}

int TransferExitCode(const absl::Status& status) {
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

int RunTransferCommand() {
  CleanUpOnSignals();
  const absl::Status status = RunChosenTransfers();
  if (!status.ok()) {
    std::fprintf(stderr, "cistern-bench transfer: %s\n", std::string(status.message()).c_str());
  }
  return TransferExitCode(status);
}

}  // namespace cistern::tools
