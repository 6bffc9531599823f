#include "cacheserver/tenant_config.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "base/tenant.h"
#include "base/units.h"
#include "cacheserver/size_text.h"

namespace cistern::cacheserver {
namespace {

using storage::TenantRule;

constexpr absl::string_view kOthers = "others";

// One tenant as it was given.
struct TenantEntry {
  absl::string_view name;
  std::vector<absl::string_view> rules;  // KEY=VALUE
};

absl::Status WrongTenant(absl::string_view name, absl::string_view advice) {
  return absl::InvalidArgumentError(absl::StrCat("tenant '", name, "': ", advice));
}

absl::StatusOr<std::vector<TenantEntry>> SplitTenants(absl::string_view text) {
  std::vector<TenantEntry> entries;
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace())) {
    part = absl::StripAsciiWhitespace(part);
    const size_t colon = part.rfind(':');
    if (colon != absl::string_view::npos) {
      const absl::string_view name = part.substr(0, colon);
      if (name.find_first_of("=; \t") != absl::string_view::npos)
        return WrongTenant(
            name,
            "commas lie between tenants; a salt with '=', ';' or a space is given by its number");
      entries.push_back({name, {}});
      part.remove_prefix(colon + 1);
    }
    if (entries.empty())
      return WrongTenant(part, "give SALT:quota=SIZE,priority=0..7 for each tenant");
    if (!part.empty()) entries.back().rules.push_back(absl::StripAsciiWhitespace(part));
  }
  return entries;
}

absl::Status ApplyRule(const TenantEntry& entry, absl::string_view key, absl::string_view value,
                       TenantRule& rule) {
  if (key == "quota") {
    const absl::StatusOr<uint64_t> bytes = base::ParseBytes(value);
    if (!bytes.ok())
      return WrongTenant(entry.name, absl::StrCat("quota = '", value,
                                                  "': give a size, such as 512MiB or 4GiB; 0: no "
                                                  "bound"));
    rule.quota_bytes = *bytes;
    return absl::OkStatus();
  }
  if (key == "priority") {
    if (!absl::SimpleAtoi(value, &rule.priority) || rule.priority > TenantRule::kMaxPriority)
      return WrongTenant(entry.name,
                         absl::StrCat("priority = '", value, "': give a whole number from 0 to ",
                                      TenantRule::kMaxPriority, "; the lowest goes first"));
    return absl::OkStatus();
  }
  return WrongTenant(entry.name, absl::StrCat("has quota and priority, there is no '", key, "'"));
}

absl::StatusOr<TenantRule> RuleOf(const TenantEntry& entry) {
  TenantRule rule;
  if (entry.rules.empty())
    return WrongTenant(entry.name, "give quota=SIZE, priority=0..7 or both after the colon");
  std::vector<absl::string_view> given;
  given.reserve(entry.rules.size());
  for (const absl::string_view text : entry.rules) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(text, absl::MaxSplits('=', 1));
    CISTERN_RETURN_IF_ERROR(ApplyRule(entry, parts.first, parts.second, rule));
    if (std::find(given.begin(), given.end(), parts.first) != given.end())
      return WrongTenant(entry.name, absl::StrCat("has two values of ", parts.first));
    given.push_back(parts.first);
  }
  if (entry.name == kOthers) return rule;
  const absl::StatusOr<uint64_t> tenant = base::ParseTenant(entry.name);
  if (!tenant.ok()) return WrongTenant(entry.name, tenant.status().message());
  rule.tenant = *tenant;
  return rule;
}

std::string RuleText(absl::string_view name, const TenantRule& rule) {
  const std::string quota =
      rule.quota_bytes == 0 ? "" : absl::StrCat("quota=", SizeText(rule.quota_bytes), ",");
  return absl::StrCat(name, ":", quota, "priority=", rule.priority);
}

}  // namespace

absl::Status ParseTenants(absl::string_view text, TenantSettings& settings) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<TenantEntry> entries, SplitTenants(text));
  TenantSettings parsed;
  parsed.named.reserve(entries.size());
  bool has_others = false;
  for (const TenantEntry& entry : entries) {
    CISTERN_ASSIGN_OR_RETURN(const TenantRule rule, RuleOf(entry));
    const bool twice =
        entry.name == kOthers
            ? std::exchange(has_others, true)
            : std::any_of(parsed.named.begin(), parsed.named.end(),
                          [&](const TenantRule& known) { return known.tenant == rule.tenant; });
    if (twice) return WrongTenant(entry.name, "is there twice");
    if (entry.name == kOthers) {
      parsed.others = rule;
    } else {
      parsed.named.push_back(rule);
    }
  }
  if (parsed.named.size() > kMaxTenants)
    return absl::InvalidArgumentError(
        absl::StrCat("name ", kMaxTenants, " tenants at most; `others` is for the rest"));
  settings = std::move(parsed);
  return absl::OkStatus();
}

std::string TenantsText(const TenantSettings& settings) {
  std::vector<std::string> parts;
  parts.reserve(settings.named.size() + 1);
  for (const TenantRule& rule : settings.named)
    parts.push_back(RuleText(base::TenantText(rule.tenant), rule));
  const TenantRule none;
  if (settings.others.quota_bytes != none.quota_bytes || settings.others.priority != none.priority)
    parts.push_back(RuleText(kOthers, settings.others));
  return absl::StrJoin(parts, ",");
}

std::vector<absl::Status> QuotasThatDoNotFit(const TenantSettings& settings,
                                             absl::string_view setting, uint64_t bytes) {
  std::vector<absl::Status> wrong;
  const auto check = [&](absl::string_view name, const TenantRule& rule) {
    if (rule.quota_bytes <= bytes) return;
    wrong.push_back(absl::InvalidArgumentError(absl::StrCat("tenants = '", RuleText(name, rule),
                                                            "': the quota is larger than ", setting,
                                                            " (", SizeText(bytes), ")")));
  };
  for (const TenantRule& rule : settings.named) check(base::TenantText(rule.tenant), rule);
  check(kOthers, settings.others);
  return wrong;
}

}  // namespace cistern::cacheserver
