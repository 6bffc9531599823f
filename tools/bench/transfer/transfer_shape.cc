#include "tools/bench/transfer/transfer_shape.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "base/units.h"

namespace cistern::tools {
namespace {

constexpr char kRowsOf[] = "deepseek-v2-lite";

absl::StatusOr<TransferShape> OfSize(absl::string_view word, uint64_t bytes) {
  if (bytes < kMinTransferBytes || bytes > kMaxTransferBytes) {
    return absl::InvalidArgumentError(absl::StrCat("--sizes '", word, "': from ", kMinTransferBytes,
                                                   " (a row) to ",
                                                   base::FormatBytes(kMaxTransferBytes)));
  }
  TransferShape shape;
  shape.name = std::string(word);
  CISTERN_ASSIGN_OR_RETURN(shape.model, base::ModelPreset(kRowsOf));
  const uint64_t chunk_layer_bytes = uint64_t{kSegmentTokens} * shape.model.row_bytes;
  const uint64_t layers =
      std::clamp<uint64_t>(bytes / chunk_layer_bytes, 1, shape.model.num_layers);
  shape.model = base::WithLayers(std::move(shape.model), static_cast<uint32_t>(layers));
  const uint64_t token_bytes = shape.model.token_bytes();
  shape.tokens = static_cast<uint32_t>((bytes + token_bytes / 2) / token_bytes);
  return shape;
}

}  // namespace

absl::StatusOr<TransferShape> ParseTransferShape(absl::string_view word) {
  const std::vector<std::string> presets = base::ModelPresetNames();
  if (std::find(presets.begin(), presets.end(), word) != presets.end()) {
    TransferShape shape{.name = absl::StrCat(word, " segment"), .tokens = kSegmentTokens};
    CISTERN_ASSIGN_OR_RETURN(shape.model, base::ModelPreset(word));
    shape.model.state = {};  // rows only
    return shape;
  }
  const absl::StatusOr<uint64_t> bytes = base::ParseBytes(word);
  if (bytes.ok()) return OfSize(word, *bytes);
  return absl::InvalidArgumentError(absl::StrCat(
      "--sizes '", word, "': a size (64KiB) or a model (", absl::StrJoin(presets, ", "), ")"));
}

absl::StatusOr<std::vector<TransferShape>> ParseTransferShapes(absl::string_view words) {
  std::vector<TransferShape> shapes;
  for (const absl::string_view word : absl::StrSplit(words, ',', absl::SkipWhitespace())) {
    CISTERN_ASSIGN_OR_RETURN(TransferShape shape,
                             ParseTransferShape(absl::StripAsciiWhitespace(word)));
    shapes.push_back(std::move(shape));
  }
  if (shapes.empty()) return absl::InvalidArgumentError("--sizes names none");
  return shapes;
}

const std::vector<std::string>& AllTransferPaths() {
  static const auto* paths = new std::vector<std::string>{
      "inplace", "fetch", "publish", "tcp_fetch", "tcp_publish", "workers", "disk", "lookup"};
  return *paths;
}

absl::StatusOr<std::vector<std::string>> ParseTransferPaths(absl::string_view words) {
  std::vector<std::string> asked;
  for (const absl::string_view word : absl::StrSplit(words, ',', absl::SkipWhitespace())) {
    asked.emplace_back(absl::StripAsciiWhitespace(word));
    const std::vector<std::string>& all = AllTransferPaths();
    if (std::find(all.begin(), all.end(), asked.back()) == all.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--paths '", asked.back(), "'; there are: ", absl::StrJoin(all, ", ")));
    }
  }
  if (asked.empty()) return absl::InvalidArgumentError("--paths names none");
  std::vector<std::string> paths;
  for (const std::string& path : AllTransferPaths()) {
    if (std::find(asked.begin(), asked.end(), path) != asked.end()) paths.push_back(path);
  }
  return paths;
}

}  // namespace cistern::tools
