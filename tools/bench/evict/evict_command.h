// `cistern-bench evict`: flags, the trace, the report.
#pragma once

namespace cistern::tools {

// Exit code: 0 the report is printed, 1 bad flags or a trace that cannot be read.
int RunEvictCommand();

}  // namespace cistern::tools
