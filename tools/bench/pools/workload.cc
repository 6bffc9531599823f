#include "tools/bench/pools/workload.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

constexpr absl::string_view kHeader = "request,arrival_tick,prompt_tokens,generated_tokens";
constexpr uint32_t kMaxTokens = 1u << 24;  // a prompt; keeps sums of ticks far from overflow

absl::StatusOr<PoolRequest> ParseLine(absl::string_view line, uint64_t expected_id) {
  const std::vector<absl::string_view> words = absl::StrSplit(line, ',');
  uint64_t id = 0;
  PoolRequest request;
  if (words.size() != 4 || !absl::SimpleAtoi(words[0], &id) ||
      !absl::SimpleAtoi(words[1], &request.arrival) ||
      !absl::SimpleAtoi(words[2], &request.prompt) ||
      !absl::SimpleAtoi(words[3], &request.generated)) {
    return absl::InvalidArgumentError("four whole numbers are expected");
  }
  if (id != expected_id) {
    return absl::InvalidArgumentError(absl::StrCat("request ", expected_id, " is expected here"));
  }
  if (request.prompt == 0 || request.prompt > kMaxTokens || request.generated > kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens: a prompt has 1 to ", kMaxTokens, ", an answer as many at most"));
  }
  return request;
}

}  // namespace

absl::StatusOr<std::vector<PoolRequest>> ParsePoolRequests(absl::string_view source,
                                                           absl::string_view csv) {
  const std::vector<absl::string_view> lines = absl::StrSplit(csv, '\n');
  if (absl::StripAsciiWhitespace(lines[0]) != kHeader) {
    return absl::InvalidArgumentError(absl::StrCat(source, ":1: '", kHeader, "' is expected"));
  }
  std::vector<PoolRequest> requests;
  requests.reserve(lines.size());
  for (size_t i = 1; i < lines.size(); ++i) {
    const absl::string_view line = absl::StripAsciiWhitespace(lines[i]);
    if (line.empty()) continue;
    absl::StatusOr<PoolRequest> request = ParseLine(line, requests.size());
    if (request.ok() && !requests.empty() && request->arrival < requests.back().arrival) {
      request = absl::InvalidArgumentError("it arrives before the one above it");
    }
    if (!request.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ":", i + 1, ": ", request.status().message()));
    }
    requests.push_back(*request);
  }
  if (requests.empty()) return absl::InvalidArgumentError(absl::StrCat(source, ": no requests"));
  return requests;
}

absl::StatusOr<PoolWorkload> LoadPoolWorkload(const std::string& directory, absl::string_view name,
                                              uint32_t replicate) {
  const std::string path = absl::StrCat(directory, "/", name, "_", replicate, ".csv");
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
  std::ostringstream text;
  text << file.rdbuf();
  PoolWorkload workload{.name = std::string(name), .replicate = replicate};
  CISTERN_ASSIGN_OR_RETURN(workload.requests, ParsePoolRequests(path, text.str()));
  return workload;
}

}  // namespace cistern::tools
