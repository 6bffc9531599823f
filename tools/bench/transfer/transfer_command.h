// `cistern-bench transfer`: flags, and a line for each path and size as it comes.
#pragma once

namespace cistern::tools {

// Exit code: 0 all is well, 1 the run could not be made, 2 bytes were wrong, 3 a call to the node
// failed.
int RunTransferCommand();

}  // namespace cistern::tools
