// An agent session over the files of a source tree, so that a fresh clone has a real workload
// without any data.
//
// Every call sends a system text, a header that changes in every call (turn, clock, notes: it
// shifts all that follows), views of some of the tree's files in changing order, and what was
// asked. Text becomes tokens by a plain word splitter: not a model's tokenizer, but equal text
// gives equal tokens, which is all that a cache sees.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "tools/bench/trace.h"

namespace cistern::tools {

struct RepoWorkloadOptions {
  std::string root;  // of the source tree
  uint32_t calls = 120;
  uint32_t files_per_call = 6;
  uint32_t max_files = 48;  // the session's working set, in path order
  uint32_t max_file_tokens = 4000;
  uint64_t seed = 1;
  uint32_t sessions = 4;  // of MakeSessionWorkload
};

// NotFound when `root` has no readable source files.
absl::StatusOr<Trace> MakeRepoWorkload(const RepoWorkloadOptions& options);

// Sessions that only grow, as prefix caches want them, and models with recurrent state need them:
// every call sends what the session's last call sent, its answer, and a question or the view of a
// file. Calls of the sessions alternate; all begin with the system text, and every second one with
// the same file. NotFound as above.
absl::StatusOr<Trace> MakeSessionWorkload(const RepoWorkloadOptions& options);

// Words, numbers, runs of blanks and single punctuation marks, each hashed into a vocabulary of
// 128,000.
Piece Tokenize(absl::string_view text);

}  // namespace cistern::tools
