#include "transport/ucx/ucx_context.h"

#include <cstdint>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <utility>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "absl/strings/str_cat.h"
#include "ucs/debug/log_def.h"

#include "base/status_macros.h"
#include "transport/ucx/ucx_status.h"
#include "transport/ucx/ucx_way.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kSocketBufferBytes = 1 << 20;

struct Setting {
  const char* environment;  // when it is set there, we leave it alone
  const char* name;         // as ucp_config_modify wants it: without the transport's prefix
  const char* value;
  const char* system_limit = nullptr;  // a file: what the system allows, or nullptr
};

constexpr Setting kSettings[] = {
    // Fewer system calls for a byte: README.md has the figures.
    {"UCX_TCP_TX_SEG_SIZE", "TX_SEG_SIZE", "256k"},
    {"UCX_TCP_RX_SEG_SIZE", "RX_SEG_SIZE", "256k"},
    // The system lets a socket's buffers grow to many MiB when its reader is late for once, and the
    // bytes then leave the caches between the two copies: half the rate, for as long as the
    // connection lives.
    {"UCX_TCP_SNDBUF", "SNDBUF", "1m", "/proc/sys/net/core/wmem_max"},
    {"UCX_TCP_RCVBUF", "RCVBUF", "1m", "/proc/sys/net/core/rmem_max"},
    // The newer protocol selection is 3 to 4 times slower over TCP in this release.
    {"UCX_PROTO_ENABLE", "PROTO_ENABLE", "n"},
};

// UCX prints to stdout, where our tools print their results; its warnings belong on stderr.
ucs_log_func_rc_t LogToStderr(const char* file, unsigned line, const char*, ucs_log_level_t level,
                              const ucs_log_component_config_t*, const char* message, va_list ap) {
  if (level > UCS_LOG_LEVEL_WARN) return UCS_LOG_FUNC_RC_CONTINUE;
  char text[512];
  vsnprintf(text, sizeof(text), message, ap);
  fprintf(stderr, "ucx %s: %s (%s:%u)\n", level == UCS_LOG_LEVEL_WARN ? "warning" : "error", text,
          file, line);
  return UCS_LOG_FUNC_RC_STOP;
}

// The library has one log for the whole process.
void RedirectLog() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (getenv("UCX_LOG_FILE") == nullptr) ucs_log_push_handler(LogToStderr);
  });
}

// Where the system allows less than we would ask for, its own choice is better.
bool Allowed(const Setting& setting) {
  if (setting.system_limit == nullptr) return true;
  std::ifstream file(setting.system_limit);
  uint64_t bytes = 0;
  return (file >> bytes) && bytes >= kSocketBufferBytes;
}

absl::Status ApplySettings(ucp_config_t* config, sa_family_t family) {
  for (const UcxSetting& setting : UcxSettings(family)) {
    CISTERN_RETURN_IF_ERROR(UcxStatus(ucp_config_modify(config, setting.name, setting.value),
                                      absl::StrCat("setting UCX's ", setting.name)));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<UcxSetting> UcxSettings(sa_family_t family) {
  std::vector<UcxSetting> settings = {
      {"AF_PRIO", family == AF_INET6 ? "inet6,inet" : "inet,inet6"}};
  settings.reserve(1 + std::size(kSettings));
  for (const Setting& setting : kSettings) {
    if (getenv(setting.environment) == nullptr && Allowed(setting)) {
      settings.push_back({setting.name, setting.value});
    }
  }
  return settings;
}

absl::StatusOr<std::shared_ptr<UcxContext>> UcxContext::Create(sa_family_t family) {
  RedirectLog();
  CISTERN_RETURN_IF_ERROR(CheckUcxPayloads());
  ucp_config_t* config = nullptr;
  ucs_status_t status = ucp_config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) return UcxStatus(status, "reading UCX's settings");
  absl::Status applied = ApplySettings(config, family);
  if (!applied.ok()) {
    ucp_config_release(config);
    return applied;
  }

  ucp_params_t params = {};
  params.field_mask =
      UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.mt_workers_shared = 1;  // its workers live on several lanes
  params.name = "cistern";
  ucp_context_h handle = nullptr;
  status = ucp_init(&params, config, &handle);
  ucp_config_release(config);
  if (status == UCS_ERR_NO_DEVICE) {
    return absl::FailedPreconditionError(
        "UCX finds no device that it may use; look at UCX_TLS and UCX_NET_DEVICES");
  }
  if (status != UCS_OK) return UcxStatus(status, "starting UCX");
  return std::shared_ptr<UcxContext>(new UcxContext(handle));
}

UcxContext::~UcxContext() { ucp_cleanup(handle_); }

absl::StatusOr<std::unique_ptr<UcxMemory>> UcxMemory::Register(std::shared_ptr<UcxContext> context,
                                                               void* address, size_t bytes) {
  ucp_mem_map_params_t params = {};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = address;
  params.length = bytes;
  ucp_mem_h handle = nullptr;
  const ucs_status_t status = ucp_mem_map(context->handle(), &params, &handle);
  if (status != UCS_OK) {
    return UcxStatus(status, absl::StrCat("registering ", bytes, " bytes with UCX"));
  }
  return std::unique_ptr<UcxMemory>(new UcxMemory(std::move(context), handle));
}

UcxMemory::~UcxMemory() { ucp_mem_unmap(context_->handle(), handle_); }

}  // namespace cistern::transport
