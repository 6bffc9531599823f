// `cistern-bench peers`: flags, and a line for each peer, operation, size and number of connections
// as it comes.
#pragma once

namespace cistern::tools {

// Exit code: 0 all is well, 1 the run could not be made, 2 bytes were wrong, 3 a call to the node
// or to a peer failed.
int RunPeersCommand();

}  // namespace cistern::tools
