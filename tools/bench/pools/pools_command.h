// `cistern-bench pools`: flags, workloads, the report.
#pragma once

namespace cistern::tools {

// Exit code: 0 the report is printed, 1 bad flags or workloads that cannot be read.
int RunPoolsCommand();

}  // namespace cistern::tools
