// `cistern-bench python`: flags, and a line for each kind of work as it comes.
#pragma once

namespace cistern::tools {

// Exit code: 0 all is well, 1 the run could not be made, 2 bytes were wrong, 3 a call failed. That
// a goal is not met is a line's word, not the exit code's.
int RunPythonCommand();

}  // namespace cistern::tools
