#include "tools/bench/trace.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using Json = nlohmann::json;
using base::TokenId;

constexpr uint32_t kMaxPartTokens = 1 << 22;
constexpr uint64_t kMaxPromptTokens = 1 << 24;

using Pieces = absl::flat_hash_map<int64_t, Piece>;

uint64_t SplitMix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// Runs `each` on every line that is not blank; errors carry file and line number. The edge where
// JSON throws.
template <typename F>
absl::Status ForEachLine(absl::string_view name, absl::string_view text, F each) {
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    absl::Status status;
    try {
      status = each(Json::parse(line.begin(), line.end()));
    } catch (const Json::exception& e) {
      status = absl::InvalidArgumentError(e.what());
    }
    if (!status.ok())
      return absl::InvalidArgumentError(absl::StrCat(name, ":", number, ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Pieces> ParsePieces(absl::string_view name, absl::string_view text) {
  Pieces pieces;
  CISTERN_RETURN_IF_ERROR(ForEachLine(name, text, [&](const Json& j) {
    auto tokens =
        std::make_shared<const std::vector<TokenId>>(j.at("tokens").get<std::vector<TokenId>>());
    if (!pieces.emplace(j.at("piece").get<int64_t>(), std::move(tokens)).second) {
      return absl::InvalidArgumentError("this piece id was defined before");
    }
    return absl::OkStatus();
  }));
  return pieces;
}

absl::StatusOr<Piece> ParsePart(const Json& part, const Pieces& pieces) {
  if (part.is_object()) {
    const auto n = part.at("random").get<uint64_t>();
    if (n > kMaxPartTokens)
      return absl::InvalidArgumentError(absl::StrCat("a random part of ", n, " tokens"));
    return RandomPiece(static_cast<uint32_t>(n), part.at("seed").get<uint64_t>());
  }
  const auto it = pieces.find(part.get<int64_t>());
  if (it == pieces.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("piece ", part.dump(), " is not in pieces.jsonl"));
  }
  return it->second;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::NotFoundError(
        absl::StrCat("cannot read '", path,
                     "': give --trace a .jsonl file with pieces.jsonl "
                     "beside it, or use --workload repo, which needs no data"));
  }
  return std::move(text).str();
}

}  // namespace

std::vector<TokenId> Call::Tokens() const {
  std::vector<TokenId> tokens;
  for (const Piece& part : parts) tokens.insert(tokens.end(), part->begin(), part->end());
  return tokens;
}

std::vector<TokenId> Call::Sequence() const {
  std::vector<TokenId> tokens = Tokens();
  if (output != nullptr) tokens.insert(tokens.end(), output->begin(), output->end());
  return tokens;
}

std::vector<uint32_t> Call::SequenceBoundaries() const {
  std::vector<uint32_t> boundaries = PartBoundaries();
  if (output == nullptr || output->empty()) return boundaries;
  boundaries.push_back(static_cast<uint32_t>(Tokens().size()));
  return boundaries;
}

std::vector<uint32_t> Call::PartBoundaries() const {
  std::vector<uint32_t> boundaries;
  uint32_t position = 0;
  for (const Piece& part : parts) {
    if (position != 0) boundaries.push_back(position);
    position += static_cast<uint32_t>(part->size());
  }
  return boundaries;
}

Piece RandomPiece(uint32_t n, uint64_t seed) {
  std::vector<TokenId> tokens(n);
  for (uint32_t k = 0; k < n; ++k)
    tokens[k] = static_cast<TokenId>(SplitMix64((seed << 20) + k) % 128000);
  return std::make_shared<const std::vector<TokenId>>(std::move(tokens));
}

absl::StatusOr<Trace> ParseTrace(absl::string_view name, absl::string_view calls,
                                 absl::string_view pieces_text) {
  CISTERN_ASSIGN_OR_RETURN(const Pieces pieces, ParsePieces("pieces.jsonl", pieces_text));
  Trace trace{std::string(name), {}};
  CISTERN_RETURN_IF_ERROR(ForEachLine(name, calls, [&](const Json& j) -> absl::Status {
    Call call;
    uint64_t total = 0;
    for (const Json& part : j.at("prompt")) {
      CISTERN_ASSIGN_OR_RETURN(Piece piece, ParsePart(part, pieces));
      total += piece->size();
      call.parts.push_back(std::move(piece));
    }
    if (total == 0) return absl::InvalidArgumentError("the prompt is empty");
    if (total > kMaxPromptTokens)
      return absl::InvalidArgumentError(absl::StrCat("a prompt of ", total, " tokens"));
    if (const auto output = j.find("output"); output != j.end() && !output->is_null()) {
      CISTERN_ASSIGN_OR_RETURN(call.output, ParsePart(*output, pieces));
    }
    trace.calls.push_back(std::move(call));
    return absl::OkStatus();
  }));
  if (trace.calls.empty())
    return absl::InvalidArgumentError(absl::StrCat(name, ": no calls in this trace"));
  return trace;
}

absl::StatusOr<Trace> LoadTrace(const std::string& path) {
  CISTERN_ASSIGN_OR_RETURN(const std::string calls, ReadFile(path));
  const std::filesystem::path file(path);
  CISTERN_ASSIGN_OR_RETURN(const std::string pieces,
                           ReadFile((file.parent_path() / "pieces.jsonl").string()));
  return ParseTrace(file.filename().string(), calls, pieces);
}

}  // namespace cistern::tools
