// Agent workloads: LLM calls in order of arrival, each prompt a list of structural parts (messages,
// tool results, documents), as token ids.
//
// A trace file holds one JSON object a line: {"prompt": [part, ...], "output": part, ...}. A part
// is a piece id, or {"random": n, "seed": s} for n fresh tokens; the output, what the model
// answered, may be missing. Pieces lie in pieces.jsonl beside the trace:
// {"piece": id, "tokens": [ids]} a line. Other fields are ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/key.h"

namespace cistern::tools {

using Piece = std::shared_ptr<const std::vector<base::TokenId>>;

struct Call {
  std::vector<Piece> parts;
  Piece output = nullptr;  // null: not known

  std::vector<base::TokenId> Tokens() const;
  // The sequence that the call leaves: prompt and output. Where the output begins, it ends a part.
  std::vector<base::TokenId> Sequence() const;
  std::vector<uint32_t> SequenceBoundaries() const;
  // Where each part but the first begins.
  std::vector<uint32_t> PartBoundaries() const;
};

struct Trace {
  std::string name;
  std::vector<Call> calls;
};

// NotFound when the trace or its pieces.jsonl cannot be opened; InvalidArgument names the file and
// line that is wrong.
absl::StatusOr<Trace> LoadTrace(const std::string& path);

// The same, from text; `name` appears in errors.
absl::StatusOr<Trace> ParseTrace(absl::string_view name, absl::string_view calls,
                                 absl::string_view pieces);

// Token k of n fresh ones: mix((seed << 20) + k) mod 128000, mix being one SplitMix64 step.
Piece RandomPiece(uint32_t n, uint64_t seed);

}  // namespace cistern::tools
