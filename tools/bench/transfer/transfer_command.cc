#include "tools/bench/transfer/transfer_command.h"

#include <cstdio>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"

#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/measure_command.h"
#include "tools/bench/transfer/transfer_run.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(std::string, server);
ABSL_FLAG(std::string, paths, "inplace,fetch,publish,tcp_fetch,tcp_publish,workers,disk,lookup",
          "transfer: which to measure");
ABSL_FLAG(
    std::string, sizes, "4KiB,64KiB,1MiB,4MiB,16MiB,64MiB,deepseek-v2-lite,deepseek-v3",
    "transfer, peers: of what is moved at once; a model's name stands for a segment of 128 tokens");
ABSL_FLAG(uint32_t, rounds, 5,
          "transfer, peers, python, states: of which the median is given, after one that warms up");
ABSL_FLAG(uint32_t, workers, 8, "transfer: how many fetch at once on the path workers");
ABSL_FLAG(
    bool, flip_a_byte, false,
    "transfer, peers, python: change one byte of what has come, to see that the check finds it");

namespace cistern::tools {
namespace {

absl::StatusOr<TransferOptions> ChosenTransfers() {
  TransferOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.paths, ParseTransferPaths(absl::GetFlag(FLAGS_paths)));
  CISTERN_ASSIGN_OR_RETURN(options.shapes, ParseTransferShapes(absl::GetFlag(FLAGS_sizes)));
  CISTERN_ASSIGN_OR_RETURN(options.rounds, CheckedRounds(absl::GetFlag(FLAGS_rounds)));
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
  return RunTransfers(options, [json](const TransferLine& line) { PrintLine(line, json); });
}

}  // namespace

int RunTransferCommand() {
  CleanUpOnSignals();
  return EndMeasuring("transfer", RunChosenTransfers());
}

}  // namespace cistern::tools
