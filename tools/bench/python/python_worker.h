// The Python side of `cistern-bench python` (bench_worker.h): worker.py in a process of its own,
// asked over a unix socket, one JSON object a line each way.
//
//   {"do": "set_up", ...}
//     -> {"python": "3.11.2", "arrays": "torch.bfloat16", "in_place": true}
//
//   {"do": "find", "calls": 200}
//     -> {"us": [41.2, ...]}
//
//   {"do": "publish_rows", "calls": 10}
//     -> {"us": [4392.1, ...], "extra_bytes": 0}    (and of publish)
//
//   what failed
//     -> {"error": "text", "wrong": true}           (wrong: bytes were)
#pragma once

#include <memory>
#include <string>

#include "tools/bench/python/bench_worker.h"

namespace cistern::tools {

struct PythonWorkerOptions {
  std::string interpreter;   // "python3", a path
  std::string script;        // worker.py
  std::string package;       // a folder for sys.path; empty: cistern is installed
  std::string pass_library;  // libcistern_bench_pass.so
  std::string directory;     // scratch: socket and log
  bool flip_a_byte = false;  // of what has come, before it is checked
};

struct PythonWorker {
  std::string version, arrays;  // of the interpreter; what rows lie in
  bool in_place = false;        // the described cache is the array's own memory
  std::unique_ptr<BenchWorker> worker;
};

// FailedPrecondition: no interpreter, or it has no cistern or numpy. The process ends with the
// worker.
absl::StatusOr<PythonWorker> StartPythonWorker(const PythonWorkerOptions& options,
                                               const WorkTerms& terms);

}  // namespace cistern::tools
