#include "base/units.h"

#include <array>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace cistern::base {
namespace {

constexpr absl::string_view kPrefixes = "KMGT";

// The power of 1024 that `unit` names, or -1.
int UnitPower(absl::string_view unit) {
  if (unit.empty() || unit == "B") return 0;
  const size_t power = kPrefixes.find(absl::ascii_toupper(unit[0]));
  const absl::string_view rest = unit.substr(1);
  if (power == absl::string_view::npos || !(rest.empty() || rest == "iB" || rest == "B")) return -1;
  return static_cast<int>(power) + 1;
}

}  // namespace

absl::StatusOr<uint64_t> ParseBytes(absl::string_view text) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
  size_t digits = 0;
  while (digits < trimmed.size() && absl::ascii_isdigit(trimmed[digits])) ++digits;
  const int power = UnitPower(absl::StripAsciiWhitespace(trimmed.substr(digits)));
  uint64_t value = 0;
  if (digits == 0 || power < 0 || !absl::SimpleAtoi(trimmed.substr(0, digits), &value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' is not a size; write for example 512MiB or 4GiB"));
  }
  for (int i = 0; i < power; ++i) {
    if (value > std::numeric_limits<uint64_t>::max() / 1024) {
      return absl::InvalidArgumentError(absl::StrCat("'", text, "' is too large a size"));
    }
    value *= 1024;
  }
  return value;
}

std::string FormatBytes(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes);
  size_t power = 0;
  // The next unit begins where this one would be rounded up to 1024.
  while (value >= 1023.5 && power < kPrefixes.size()) {
    value /= 1024;
    ++power;
  }
  const char prefix = kPrefixes[power - 1];
  if (value < 9.995) return absl::StrFormat("%.2f %ciB", value, prefix);
  if (value < 99.95) return absl::StrFormat("%.1f %ciB", value, prefix);
  return absl::StrFormat("%.0f %ciB", value, prefix);
}

std::string FormatCount(uint64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string grouped;
  grouped.reserve(digits.size() + digits.size() / 3);
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

}  // namespace cistern::base
