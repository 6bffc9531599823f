// The C++ side of `cistern-bench python` (bench_worker.h).
#pragma once

#include <memory>

#include "tools/bench/python/bench_worker.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<BenchWorker>> StartCppWorker(const WorkTerms& terms);

}  // namespace cistern::tools
