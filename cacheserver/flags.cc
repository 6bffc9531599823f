#include "cacheserver/flags.h"

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "base/status_macros.h"

namespace cistern::cacheserver {
namespace {

std::string DefaultText(absl::string_view name) {
  const ConfigField* field = FindConfigField(name);
  return field == nullptr ? "" : field->get(NodeConfig());
}

std::string HelpText(absl::string_view name) {
  const ConfigField* field = FindConfigField(name);
  return field == nullptr ? "" : field->help;
}

}  // namespace
}  // namespace cistern::cacheserver

ABSL_FLAG(std::string, config, "", "path of a configuration file (JSON, comments allowed)");
ABSL_FLAG(bool, check_config, false,
          "read file and flags, print the whole configuration or what is wrong with it, and end");

#define CISTERN_FLAG(name)                                               \
  ABSL_FLAG(std::string, name, cistern::cacheserver::DefaultText(#name), \
            cistern::cacheserver::HelpText(#name))
#define CISTERN_BOOL_FLAG(name)                                             \
  ABSL_FLAG(bool, name, cistern::cacheserver::DefaultText(#name) == "true", \
            cistern::cacheserver::HelpText(#name))

CISTERN_FLAG(name);
CISTERN_FLAG(unix_socket);
CISTERN_FLAG(ucx_address);
CISTERN_BOOL_FLAG(allow_mapping);
CISTERN_BOOL_FLAG(admin_over_network);
CISTERN_FLAG(lanes);
CISTERN_FLAG(pool_bytes);
CISTERN_FLAG(device_bytes);
CISTERN_BOOL_FLAG(huge_pages);
CISTERN_BOOL_FLAG(pre_touch);
CISTERN_BOOL_FLAG(predict_demand);
CISTERN_FLAG(variants_per_content);
CISTERN_FLAG(eviction_policy);
CISTERN_FLAG(object_ttl);
CISTERN_FLAG(tenants);
CISTERN_FLAG(disk_path);
CISTERN_FLAG(disk_max_bytes);
CISTERN_BOOL_FLAG(direct_io);
CISTERN_FLAG(disk_threads);
CISTERN_FLAG(demote_above);
CISTERN_FLAG(demote_below);
CISTERN_BOOL_FLAG(demote_eagerly);
CISTERN_FLAG(demote_batch_bytes);
CISTERN_BOOL_FLAG(flush_on_stop);
CISTERN_FLAG(flush_timeout);
CISTERN_FLAG(max_sessions);
CISTERN_FLAG(max_calls_per_session);
CISTERN_FLAG(max_leases_per_session);
CISTERN_FLAG(max_reservations_per_session);
CISTERN_FLAG(lease_max_age);
CISTERN_FLAG(drain_timeout);
CISTERN_FLAG(copy_threads);
CISTERN_FLAG(models);
CISTERN_FLAG(log_level);
CISTERN_FLAG(log_format);

namespace cistern::cacheserver {

std::vector<std::string> GivenFlags(int argc, const char* const* argv) {
  std::vector<std::string> given;
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    if (word == "--") break;
    if (!absl::ConsumePrefix(&word, "-")) continue;
    absl::ConsumePrefix(&word, "-");
    word = word.substr(0, word.find('='));
    const ConfigField* field = FindConfigField(word);
    if (field == nullptr && absl::ConsumePrefix(&word, "no")) field = FindConfigField(word);
    if (field != nullptr) given.push_back(field->name);
  }
  return given;
}

absl::StatusOr<NodeConfig> ConfigFromFlags(const std::vector<std::string>& given) {
  NodeConfig config;
  if (const std::string path = absl::GetFlag(FLAGS_config); !path.empty())
    CISTERN_RETURN_IF_ERROR(ApplyConfigFile(config, path));
  for (const std::string& name : given) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    if (absl::Status set = SetConfigField(config, name, flag->CurrentValue()); !set.ok())
      return absl::InvalidArgumentError(absl::StrCat("--", set.message()));
  }
  CISTERN_RETURN_IF_ERROR(ValidateConfig(config));
  if (config.unix_socket.empty() && config.ucx_address.empty())
    return absl::InvalidArgumentError(
        "nobody could reach this node: set unix_socket or ucx_address");
  return config;
}

bool CheckConfigOnly() { return absl::GetFlag(FLAGS_check_config); }

}  // namespace cistern::cacheserver
