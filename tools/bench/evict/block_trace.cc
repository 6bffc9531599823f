#include "tools/bench/evict/block_trace.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "tools/bench/evict/block_names.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxTokens = 1u << 24;  // of a prompt

absl::StatusOr<uint64_t> Whole(const Json& object, const char* field) {
  const auto it = object.find(field);
  if (it == object.end()) return absl::InvalidArgumentError(absl::StrCat(field, " is missing"));
  if (!it->is_number_unsigned()) {
    return absl::InvalidArgumentError(absl::StrCat(field, " is not a whole number"));
  }
  return it->get<uint64_t>();
}

absl::StatusOr<BlockRequest> ReadBlocks(const Json& object, uint64_t input_tokens,
                                        BlockNames& names) {
  const auto hashes = object.find("hash_ids");
  if (hashes == object.end() || !hashes->is_array()) {
    return absl::InvalidArgumentError("hash_ids is not a list");
  }
  if (input_tokens == 0 || input_tokens > kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("input_length: a prompt has 1 to ", kMaxTokens, " tokens"));
  }
  const uint64_t num_blocks = (input_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
  if (hashes->size() != num_blocks) {
    return absl::InvalidArgumentError(absl::StrCat(input_tokens, " tokens are ", num_blocks,
                                                   " blocks, but there are ", hashes->size(),
                                                   " hash_ids"));
  }
  BlockRequest request{.input_tokens = static_cast<uint32_t>(input_tokens)};
  request.blocks.reserve(num_blocks);
  std::optional<uint32_t> parent;
  for (const Json& hash : *hashes) {
    if (!hash.is_number_unsigned()) {
      return absl::InvalidArgumentError("hash_ids: a whole number is expected");
    }
    parent = names.Number(parent, hash.get<uint64_t>());
    request.blocks.push_back(*parent);
  }
  return request;
}

absl::StatusOr<BlockRequest> ReadLine(absl::string_view line, uint64_t& timestamp,
                                      BlockNames& names) {
  const Json object = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("not a JSON object");
  CISTERN_ASSIGN_OR_RETURN(const uint64_t arrival, Whole(object, "timestamp"));
  CISTERN_ASSIGN_OR_RETURN(const uint64_t input_tokens, Whole(object, "input_length"));
  CISTERN_RETURN_IF_ERROR(Whole(object, "output_length").status());
  if (arrival < timestamp) {
    return absl::InvalidArgumentError("timestamp: it arrives before the one above it");
  }
  timestamp = arrival;
  return ReadBlocks(object, input_tokens, names);
}

}  // namespace

uint32_t BlockRequest::BlockTokens(size_t index) const {
  if (index + 1 < blocks.size()) return kTraceBlockTokens;
  return input_tokens - static_cast<uint32_t>(index) * kTraceBlockTokens;
}

absl::StatusOr<BlockTrace> ParseBlockTrace(absl::string_view source, absl::string_view jsonl) {
  BlockTrace trace;
  BlockNames names;
  uint64_t timestamp = 0;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(jsonl, '\n')) {
    ++number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    absl::StatusOr<BlockRequest> request = ReadLine(line, timestamp, names);
    if (!request.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(source, ":", number, ": ", request.status().message()));
    }
    trace.requests.push_back(*std::move(request));
  }
  if (trace.requests.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(source, ": no requests"));
  }
  trace.num_blocks = names.count();
  return trace;
}

absl::StatusOr<BlockTrace> LoadBlockTrace(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot read '", path, "'"));
  std::ostringstream text;
  text << file.rdbuf();
  return ParseBlockTrace(path, text.str());
}

}  // namespace cistern::tools
