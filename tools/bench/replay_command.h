// `cistern-bench replay`: flags, the node to talk to, the report.
#pragma once

namespace cistern::tools {

// Exit code: 0 all rows matched, 1 the run could not be made, 2 rows did not match, 3 calls to the
// node failed though nobody killed it.
int RunReplayCommand();

}  // namespace cistern::tools
