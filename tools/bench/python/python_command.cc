#include "tools/bench/python/python_command.h"

#include <cstdio>
#include <string>

#include "absl/flags/declare.h"
#include "absl/flags/flag.h"

#include "base/status_macros.h"
#include "tools/bench/leftovers.h"
#include "tools/bench/measure_command.h"
#include "tools/bench/python/python_run.h"

ABSL_DECLARE_FLAG(bool, json);
ABSL_DECLARE_FLAG(bool, flip_a_byte);
ABSL_DECLARE_FLAG(std::string, server);
ABSL_DECLARE_FLAG(uint32_t, rounds);
ABSL_FLAG(std::string, works, "find,plan,plan_list,fetch,get,put,publish,view,publish_rows",
          "python: which to measure");
ABSL_FLAG(uint32_t, round_calls, 200, "python: calls of a round; of 16 MiB a twentieth");
ABSL_FLAG(std::string, python, "",
          "python: an interpreter with numpy and cistern; empty = the one that this program was "
          "built with");
ABSL_FLAG(std::string, package, "",
          "python: a folder that holds the package cistern; empty = this build's, or, with "
          "--python, the one "
          "that is installed");

namespace cistern::tools {
namespace {

absl::StatusOr<PythonOptions> ChosenPython() {
  PythonOptions options;
  CISTERN_ASSIGN_OR_RETURN(options.works, ParsePythonWorks(absl::GetFlag(FLAGS_works)));
  CISTERN_ASSIGN_OR_RETURN(options.rounds, CheckedRounds(absl::GetFlag(FLAGS_rounds)));
  options.calls = absl::GetFlag(FLAGS_round_calls);
  if (options.calls == 0 || options.calls > 100'000)
    return absl::InvalidArgumentError("--round_calls: from 1 to 100000");
  options.server = absl::GetFlag(FLAGS_server);
  const bool own = absl::GetFlag(FLAGS_python).empty();
  options.interpreter = own ? CISTERN_PYTHON : absl::GetFlag(FLAGS_python);
  options.script = CISTERN_SOURCE_DIR "/tools/bench/python/worker.py";
  options.package = absl::GetFlag(FLAGS_package);
  if (own && options.package.empty()) options.package = CISTERN_PYTHON_PACKAGE;
  options.pass_library = CISTERN_BENCH_PASS;
  options.flip_a_byte = absl::GetFlag(FLAGS_flip_a_byte);
  return options;
}

absl::Status RunChosenPython() {
  CISTERN_ASSIGN_OR_RETURN(const PythonOptions options, ChosenPython());
  const bool json = absl::GetFlag(FLAGS_json);
  if (!json) std::fputs(PythonTableHead().c_str(), stdout);
  return RunPythonBench(options, [json](const PythonLine& line) { PrintLine(line, json); });
}

}  // namespace

int RunPythonCommand() {
  CleanUpOnSignals();
  return EndMeasuring("python", RunChosenPython());
}

}  // namespace cistern::tools
