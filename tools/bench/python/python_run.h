// `cistern-bench python`: the same calls from C++ (this process) and from Python (another one) to
// one node (a third), in rounds side by side.
//
// Errors  InvalidArgument, NotFound, FailedPrecondition: the run could not be made. DataLoss: bytes
// or answers were wrong. Others: a call failed
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/python/python_report.h"

namespace cistern::tools {

struct PythonOptions {
  std::vector<std::string> works;  // of AllPythonWorks
  uint32_t rounds = 5;
  uint32_t calls = 200;  // of a round; of 16 MiB a twentieth
  std::string server;    // empty: NodeProcess finds it
  std::string interpreter, script, package, pass_library;
  bool flip_a_byte = false;
};

// The names of works, in the order in which they are measured; each once, all known.
std::vector<std::string> AllPythonWorks();
absl::StatusOr<std::vector<std::string>> ParsePythonWorks(absl::string_view words);

using EmitPythonLine = std::function<void(const PythonLine& line)>;
absl::Status RunPythonBench(const PythonOptions& options, const EmitPythonLine& emit);

}  // namespace cistern::tools
