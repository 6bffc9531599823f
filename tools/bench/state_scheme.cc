#include "tools/bench/state_scheme.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cistern::tools {
namespace {

constexpr std::array<std::pair<StateScheme, absl::string_view>, 4> kSchemes = {{
    {StateScheme::kMultiples, "multiples"},
    {StateScheme::kEnds, "ends"},
    {StateScheme::kBranches, "branches"},
    {StateScheme::kLog, "log"},
}};

}  // namespace

absl::string_view ToString(StateScheme scheme) {
  for (const auto& [entry, name] : kSchemes) {
    if (entry == scheme) return name;
  }
  return "unknown";
}

absl::StatusOr<std::vector<StateScheme>> ParseStateSchemes(absl::string_view text) {
  std::vector<StateScheme> schemes;
  for (const auto& [entry, name] : kSchemes) {
    if (text == name || text == "all") schemes.push_back(entry);
  }
  if (!schemes.empty()) return schemes;
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown --scheme '", text, "'; there are: multiples, ends, branches, log, all"));
}

std::vector<uint32_t> StatePoints(StateScheme scheme, uint32_t resumed,
                                  std::span<const uint32_t> wanted, uint32_t end) {
  std::vector<uint32_t> points;
  if (scheme == StateScheme::kMultiples) {
    for (uint32_t at = (resumed / kMultiple + 1) * kMultiple; at <= end; at += kMultiple) {
      points.push_back(at);
    }
    return points;
  }
  if (scheme != StateScheme::kEnds) {
    std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(points),
                 [&](uint32_t at) { return at > resumed && at < end; });
  }
  if (end > resumed) points.push_back(end);
  return points;
}

uint32_t LongestLog(StateScheme scheme, const base::StateSpec& spec) {
  return scheme == StateScheme::kLog ? spec.BreakEvenTokens() : 0;
}

LogRange LogRangeOf(uint32_t resumed, std::span<const uint32_t> points, uint32_t longest) {
  LogRange range;
  uint32_t before = resumed;
  for (const uint32_t point : points) {
    if (before != 0 && point - before <= longest) {
      if (range.end == 0) range.begin = before;
      range.end = point;
    }
    before = point;
  }
  return range;
}

}  // namespace cistern::tools
