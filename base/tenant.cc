#include "base/tenant.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

#include "base/key.h"

namespace cistern::base {
namespace {

constexpr size_t kDigits = 16;

}  // namespace

std::string TenantText(uint64_t tenant) { return absl::StrFormat("0x%016x", tenant); }

absl::StatusOr<uint64_t> ParseTenant(absl::string_view text) {
  absl::string_view digits = text;
  if (!absl::ConsumePrefix(&digits, "0x")) return TenantOf(text);
  uint64_t tenant = 0;
  if (digits.size() != kDigits ||
      digits.find_first_not_of("0123456789abcdefABCDEF") != absl::string_view::npos ||
      !absl::SimpleHexAtoi(digits, &tenant)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is no tenant: give its salt, or 0x and the 16 hex digits that stand for it"));
  }
  return tenant;
}

}  // namespace cistern::base
