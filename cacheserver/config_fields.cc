// The list of settings. To add one: a member of NodeConfig, a line here, a line in
// cistern.example.json, a flag in flags.cc.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "cacheserver/config.h"
#include "cacheserver/size_text.h"
#include "storage/policy/eviction_policy.h"

namespace cistern::cacheserver {
namespace {

absl::Status Parse(absl::string_view text, std::string& value) {
  value = std::string(text);
  return absl::OkStatus();
}
std::string Show(const std::string& value) { return value; }

absl::Status Parse(absl::string_view text, bool& value) {
  if (!absl::SimpleAtob(text, &value)) return absl::InvalidArgumentError("give true or false");
  return absl::OkStatus();
}
std::string Show(bool value) { return value ? "true" : "false"; }

absl::Status Parse(absl::string_view text, uint32_t& value) {
  if (!absl::SimpleAtoi(text, &value))
    return absl::InvalidArgumentError("give a whole number, not negative");
  return absl::OkStatus();
}
std::string Show(uint32_t value) { return absl::StrCat(value); }

absl::Status Parse(absl::string_view text, double& value) {
  if (!absl::SimpleAtod(text, &value) || !(value > 0 && value <= 1))
    return absl::InvalidArgumentError("give a share of the pool, above 0 and at most 1");
  return absl::OkStatus();
}
std::string Show(double value) { return absl::StrCat(value); }

absl::Status Parse(absl::string_view text, absl::Duration& value) {
  if (!absl::ParseDuration(text, &value) || value < absl::ZeroDuration() ||
      value == absl::InfiniteDuration()) {
    return absl::InvalidArgumentError("give a duration with its unit, such as 500ms, 30s or 10m");
  }
  return absl::OkStatus();
}
std::string Show(absl::Duration value) { return absl::FormatDuration(value); }

absl::Status Parse(absl::string_view text, std::vector<std::string>& value) {
  value.clear();
  for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipWhitespace()))
    value.emplace_back(absl::StripAsciiWhitespace(part));
  return absl::OkStatus();
}
std::string Show(const std::vector<std::string>& value) { return absl::StrJoin(value, ","); }

absl::Status Parse(absl::string_view text, TenantSettings& value) {
  return ParseTenants(text, value);
}
std::string Show(const TenantSettings& value) { return TenantsText(value); }

absl::Status Parse(absl::string_view text, LogFormat& value) {
  if (text != "text" && text != "json") return absl::InvalidArgumentError("give text or json");
  value = text == "json" ? LogFormat::kJson : LogFormat::kText;
  return absl::OkStatus();
}
std::string Show(LogFormat value) { return value == LogFormat::kJson ? "json" : "text"; }

// A size in bytes. (Its own type of field: a bare uint64_t would print without a unit.)
absl::Status ParseSize(absl::string_view text, uint64_t& value) {
  absl::StatusOr<uint64_t> bytes = base::ParseBytes(text);
  if (!bytes.ok()) return absl::InvalidArgumentError("give a size, such as 512MiB or 4GiB");
  value = *bytes;
  return absl::OkStatus();
}

absl::Status ParseLogLevel(absl::string_view text, std::string& value) {
  for (absl::string_view known : {"debug", "info", "warning", "error", "off"}) {
    if (text == known) {
      value = std::string(text);
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError("give debug, info, warning, error or off");
}

absl::Status ParsePolicy(absl::string_view text, std::string& value) {
  const std::vector<absl::string_view> names = storage::EvictionPolicyNames();
  if (std::find(names.begin(), names.end(), text) == names.end())
    return absl::InvalidArgumentError(absl::StrCat("give one of ", absl::StrJoin(names, ", ")));
  value = std::string(text);
  return absl::OkStatus();
}

#define FIELD(member, help)                                                                  \
  ConfigField {                                                                              \
#member, help, std::is_same_v < decltype(NodeConfig::member), bool>,                     \
        [](NodeConfig & c,                                                                   \
           absl::string_view                                                                 \
               text) { return Parse(text, c.member); }, [](const NodeConfig&                 \
                                                               c) { return Show(c.member); } \
  }
#define SIZE_FIELD(member, help)                                                                  \
  ConfigField {                                                                                   \
#member, help, false,                                                                         \
        [](NodeConfig & c,                                                                        \
           absl::string_view                                                                      \
               text) { return ParseSize(text, c.member); },                                       \
                                                         [](const NodeConfig&                     \
                                                                c) { return SizeText(c.member); } \
  }

}  // namespace

const std::vector<ConfigField>& ConfigFields() {
  static const auto* fields = new std::vector<ConfigField>{
      FIELD(name, "what this node is called in logs and in `cistern status`"),
      FIELD(unix_socket, "path of the unix socket for workers on this host; empty: none"),
      FIELD(ucx_address,
            "host:port to listen on for workers on other hosts (RDMA or TCP, as UCX finds it); "
            "empty: none"),
      FIELD(allow_mapping,
            "workers on this host may map the node's memory read-only and read in place; false: "
            "everybody is served by copy"),
      FIELD(
          admin_over_network,
          "ls, inspect, evict, pin, verify and flush are answered to other hosts, too, not only on "
          "the unix socket"),
      FIELD(lanes, "threads that serve connections"),
      SIZE_FIELD(pool_bytes, "memory for cached objects"),
      SIZE_FIELD(device_bytes,
                 "memory of a device that objects are served from, with pool_bytes as the tier "
                 "below it (without a GPU: host memory, too); 0: none"),
      FIELD(huge_pages, "ask for huge pages where the kernel has them"),
      FIELD(pre_touch, "touch all memory at the start, so that no worker waits for it later"),
      FIELD(variants_per_content,
            "how many computations of the same text, in different contexts, are kept"),
      FIELD(predict_demand,
            "move blocks together for sizes that will soon be short of room, before they are"),
      ConfigField{
          "eviction_policy",
          "what goes first when memory is full: value (aged frequency x cost to compute it again / "
          "bytes), lru, s3fifo or marconi",
          false,
          [](NodeConfig& c, absl::string_view text) {
            return ParsePolicy(text, c.eviction_policy);
          },
          [](const NodeConfig& c) { return c.eviction_policy; }},
      FIELD(object_ttl,
            "an object that nobody has used for so long goes, from disk, too; 0: never"),
      FIELD(tenants,
            "what tenants may take of memory, and whose objects go first: "
            "SALT:quota=4GiB,priority=2 for each, commas between them (a salt, or 0x and 16 digits "
            "as `cistern status` "
            "shows it), others:... for all that are not named; priority 0 (first to go) to 7, 1 "
            "when left out"),
      FIELD(disk_path, "directory of the disk tier; empty: memory only"),
      SIZE_FIELD(disk_max_bytes, "bound of the disk tier; 0: until the disk is full"),
      FIELD(direct_io, "read and write the disk past the page cache where the file system can"),
      FIELD(disk_threads, "threads that read from the disk (one more writes)"),
      FIELD(demote_above, "share of memory in use above which objects are written to disk"),
      FIELD(demote_below, "share of memory at which that stops"),
      FIELD(demote_eagerly,
            "write every object to disk soon after it is stored: a killed node loses little"),
      SIZE_FIELD(demote_batch_bytes, "payload that is written to disk and made durable together"),
      FIELD(flush_on_stop, "on SIGTERM write to disk what lies in memory only"),
      FIELD(flush_timeout, "how long that may take"),
      FIELD(max_sessions, "connections at a time"),
      FIELD(max_calls_per_session, "calls in progress of one connection"),
      FIELD(max_leases_per_session, "objects that one connection may hold in place"),
      FIELD(max_reservations_per_session, "objects that one connection may be writing"),
      FIELD(lease_max_age, "a lease that is held longer is taken back"),
      FIELD(drain_timeout, "how long calls in progress may take on SIGTERM"),
      FIELD(copy_threads, "threads that copy and check payloads"),
      FIELD(models,
            "models known from the start: preset names or paths of config.json files (workers "
            "register others themselves)"),
      ConfigField{
          "log_level", "debug, info, warning, error or off", false,
          [](NodeConfig& c, absl::string_view text) { return ParseLogLevel(text, c.log_level); },
          [](const NodeConfig& c) { return c.log_level; }},
      FIELD(log_format, "text, or json: one object a line"),
  };
  return *fields;
}

}  // namespace cistern::cacheserver
