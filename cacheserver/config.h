// How a node is set up: one flat list of settings, the same names in the file and as flags.
//
// File     one JSON object, comments (// and /* */) allowed; every key is a setting of ConfigFields
// Flags    --NAME=VALUE, after the file: a flag wins
// Errors   InvalidArgument, one line for every wrong setting: which, what was given, what would do
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "cacheserver/tenant_config.h"

namespace cistern::cacheserver {

enum class LogFormat : uint8_t { kText = 0, kJson = 1 };

struct NodeConfig {
  std::string name = "cistern";

  // Where it listens; "" = not there. One of both at least, unless the node is embedded.
  std::string unix_socket = "/run/cistern/node.sock";
  std::string ucx_address;
  bool allow_mapping = true;        // same host: workers may map the memory, read-only
  bool admin_over_network = false;  // ls, inspect, evict ... from other hosts, too
  uint32_t lanes = 2;

  // Memory
  uint64_t pool_bytes = 1ull << 30;
  uint64_t device_bytes = 0;  // of an arena above pool_bytes; 0 = none
  bool huge_pages = true;
  bool pre_touch = true;
  uint32_t variants_per_content = 4;
  std::string eviction_policy = "value";  // of storage::EvictionPolicyNames()
  bool predict_demand = false;
  absl::Duration object_ttl = absl::ZeroDuration();  // 0 = never
  TenantSettings tenants;

  // Disk
  std::string disk_path;        // "" = no disk tier
  uint64_t disk_max_bytes = 0;  // 0 = until the disk is full
  bool direct_io = true;
  uint32_t disk_threads = 2;  // that read; one more writes
  double demote_above = 0.90;
  double demote_below = 0.80;
  bool demote_eagerly = false;
  uint64_t demote_batch_bytes = 64ull << 20;
  bool flush_on_stop = false;
  absl::Duration flush_timeout = absl::Seconds(60);

  // Sessions and calls
  uint32_t max_sessions = 1024;
  uint32_t max_calls_per_session = 1024;
  uint32_t max_leases_per_session = 65536;
  uint32_t max_reservations_per_session = 16384;
  absl::Duration lease_max_age = absl::Minutes(10);
  absl::Duration drain_timeout = absl::Seconds(5);
  uint32_t copy_threads = 2;

  // Models that are known from the start: preset names or paths of config.json files
  std::vector<std::string> models;

  std::string log_level = "info";
  LogFormat log_format = LogFormat::kText;
};

// One setting: its name, what it is for, and its value as text.
struct ConfigField {
  const char* name;
  const char* help;
  bool is_bool;
  absl::Status (*set)(NodeConfig& config, absl::string_view text);  // without the setting's name
  std::string (*get)(const NodeConfig& config);
};

const std::vector<ConfigField>& ConfigFields();
const ConfigField* FindConfigField(absl::string_view name);

// Sets one field from text. NotFound names the nearest known field.
absl::Status SetConfigField(NodeConfig& config, absl::string_view name, absl::string_view text);

// Applies the text of a file to `config`. `source` names it in errors.
absl::Status ApplyConfigText(NodeConfig& config, absl::string_view text, absl::string_view source);
// NotFound, PermissionDenied or InvalidArgument, with the path.
absl::Status ApplyConfigFile(NodeConfig& config, const std::string& path);

// What no single field can tell: bounds, and fields that do not fit together.
absl::Status ValidateConfig(const NodeConfig& config);

// The whole set-up as a file that ApplyConfigText accepts.
std::string ConfigToText(const NodeConfig& config);

}  // namespace cistern::cacheserver
