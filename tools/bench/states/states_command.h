// `cistern-bench states`: flags, and a line for each case as it comes.
#pragma once

namespace cistern::tools {

// Exit code: 0 all is well, 1 bad flags, 2 a form differs from the float64 reference by more than
// it may.
int RunStatesCommand();

}  // namespace cistern::tools
