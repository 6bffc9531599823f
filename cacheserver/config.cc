#include "cacheserver/config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxConfigBytes = 1 << 20;
constexpr uint64_t kMinPoolBytes = 1 << 20;
constexpr uint32_t kMaxThreads = 256;
constexpr uint32_t kMaxPort = 65535;
constexpr size_t kMaxSocketPath = 107;  // sockaddr_un::sun_path, less its end

// Edits that turn one word into the other.
size_t Distance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row[b.size()];
}

absl::string_view NearestField(absl::string_view name) {
  const auto& fields = ConfigFields();
  return std::min_element(fields.begin(), fields.end(),
                          [&](const ConfigField& a, const ConfigField& b) {
                            return Distance(name, a.name) < Distance(name, b.name);
                          })
      ->name;
}

// A JSON value as the text that the same setting has as a flag.
absl::StatusOr<std::string> ValueText(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean() || value.is_number()) return value.dump();
  if (value.is_array()) {
    std::vector<std::string> parts;
    for (const Json& part : value) {
      if (!part.is_string()) return absl::InvalidArgumentError("a list holds strings");
      parts.push_back(part.get<std::string>());
    }
    return absl::StrJoin(parts, ",");
  }
  return absl::InvalidArgumentError("give a string, a number, true, false or a list of strings");
}

absl::StatusOr<Json> ParseObject(absl::string_view text, absl::string_view source) {
  if (absl::StripAsciiWhitespace(text).empty())
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": is empty; {} is a configuration in which every setting has its default"));
  Json json;
  try {
    json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/true,
                       /*ignore_comments=*/true);
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(source, ": not valid JSON: ", e.what(),
                     "; cacheserver/cistern.example.json shows the form"));
  }
  if (!json.is_object())
    return absl::InvalidArgumentError(absl::StrCat(
        source, ": a configuration is one JSON object, { \"pool_bytes\": \"4GiB\", ... }"));
  return json;
}

absl::Status Wrong(absl::string_view name, absl::string_view value, absl::string_view advice) {
  return absl::InvalidArgumentError(absl::StrCat(name, " = '", value, "': ", advice));
}

// A port behind the last colon; 0: the system chooses.
bool HasPort(absl::string_view address) {
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  return colon != absl::string_view::npos && absl::SimpleAtoi(address.substr(colon + 1), &port) &&
         port <= kMaxPort;
}

class Complaints {
 public:
  void Unless(bool fine, absl::string_view name, absl::string_view advice) {
    if (!fine) Add(Wrong(name, FindConfigField(name)->get(config_), advice));
  }
  void Add(const absl::Status& status) {
    if (!status.ok()) lines_.emplace_back(status.message());
  }
  absl::Status Result() const {
    if (lines_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }
  explicit Complaints(const NodeConfig& config) : config_(config) {}

 private:
  const NodeConfig& config_;
  std::vector<std::string> lines_;
};

}  // namespace

const ConfigField* FindConfigField(absl::string_view name) {
  for (const ConfigField& field : ConfigFields()) {
    if (name == field.name) return &field;
  }
  return nullptr;
}

absl::Status SetConfigField(NodeConfig& config, absl::string_view name, absl::string_view text) {
  const ConfigField* field = FindConfigField(name);
  if (field == nullptr) {
    return absl::NotFoundError(absl::StrCat("there is no setting '", name, "'; did you mean '",
                                            NearestField(name),
                                            "'? `cistern-server --help` lists all"));
  }
  if (absl::Status set = field->set(config, text); !set.ok())
    return Wrong(name, text, set.message());
  return absl::OkStatus();
}

absl::Status ApplyConfigText(NodeConfig& config, absl::string_view text, absl::string_view source) {
  CISTERN_ASSIGN_OR_RETURN(const Json json, ParseObject(text, source));
  Complaints complaints(config);
  for (const auto& [name, value] : json.items()) {
    absl::StatusOr<std::string> as_text = ValueText(value);
    absl::Status status = as_text.ok() ? SetConfigField(config, name, *as_text)
                                       : Wrong(name, value.type_name(), as_text.status().message());
    if (!status.ok())
      complaints.Add(absl::InvalidArgumentError(absl::StrCat(source, ": ", status.message())));
  }
  return complaints.Result();
}

absl::Status ApplyConfigFile(NodeConfig& config, const std::string& path) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in || text.fail()) {
    return absl::ErrnoToStatus(
        errno != 0 ? errno : EIO,
        absl::StrCat("cannot read the configuration ", path,
                     ": check the path and its permissions, or leave --config out"));
  }
  if (text.str().size() > kMaxConfigBytes)
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": larger than ", base::FormatBytes(kMaxConfigBytes), "; is this a configuration?"));
  return ApplyConfigText(config, text.str(), path);
}

absl::Status ValidateConfig(const NodeConfig& c) {
  Complaints complaints(c);
  const auto threads = [](uint32_t n) { return n >= 1 && n <= kMaxThreads; };
  complaints.Unless(!c.name.empty() && c.name.size() <= 256, "name",
                    "give a name of at most 256 bytes");
  complaints.Unless(c.unix_socket.size() <= kMaxSocketPath, "unix_socket",
                    "a socket's path has at most 107 bytes: choose a shorter one");
  complaints.Unless(c.ucx_address.empty() || HasPort(c.ucx_address), "ucx_address",
                    "give host:port, such as 0.0.0.0:7411; a port is 0 to 65535");
  complaints.Unless(threads(c.lanes), "lanes", "give 1 to 256");
  complaints.Unless(threads(c.disk_threads), "disk_threads", "give 1 to 256");
  complaints.Unless(threads(c.copy_threads), "copy_threads", "give 1 to 256");
  complaints.Unless(c.pool_bytes >= kMinPoolBytes, "pool_bytes", "give 1MiB at least");
  complaints.Unless(c.device_bytes == 0 || c.device_bytes >= kMinPoolBytes, "device_bytes",
                    "give 1MiB at least, or 0 for none");
  complaints.Unless(c.variants_per_content >= 1, "variants_per_content", "give 1 at least");
  complaints.Unless(c.object_ttl == absl::ZeroDuration() || c.object_ttl >= absl::Seconds(1),
                    "object_ttl", "give 1s at least, or 0 for never");
  for (const absl::Status& wrong : QuotasThatDoNotFit(c.tenants, c.pool_bytes))
    complaints.Add(wrong);
  complaints.Unless(c.demote_below < c.demote_above, "demote_below",
                    absl::StrCat("must be below demote_above (", c.demote_above, ")"));
  complaints.Unless(c.demote_batch_bytes >= 1, "demote_batch_bytes", "give a size above 0");
  complaints.Unless(!c.flush_on_stop || !c.disk_path.empty(), "flush_on_stop",
                    "there is no disk tier to write to: set disk_path too");
  complaints.Unless(!c.demote_eagerly || !c.disk_path.empty(), "demote_eagerly",
                    "there is no disk tier to write to: set disk_path too");
  complaints.Unless(c.max_sessions >= 1, "max_sessions", "give 1 at least");
  complaints.Unless(c.max_calls_per_session >= 1, "max_calls_per_session", "give 1 at least");
  complaints.Unless(c.max_leases_per_session >= 1, "max_leases_per_session", "give 1 at least");
  complaints.Unless(c.max_reservations_per_session >= 1, "max_reservations_per_session",
                    "give 1 at least");
  complaints.Unless(c.lease_max_age >= absl::Seconds(1), "lease_max_age", "give 1s at least");
  return complaints.Result();
}

std::string ConfigToText(const NodeConfig& config) {
  Json json = Json::object();
  for (const ConfigField& field : ConfigFields()) {
    const std::string value = field.get(config);
    if (field.is_bool) {
      json[field.name] = value == "true";
    } else {
      json[field.name] = value;
    }
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace cistern::cacheserver
