// A node's configuration from any text: refused with a reason, or written and read again unchanged.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"

#include "cacheserver/config.h"

using cistern::cacheserver::ApplyConfigText;
using cistern::cacheserver::ConfigField;
using cistern::cacheserver::ConfigFields;
using cistern::cacheserver::ConfigToText;
using cistern::cacheserver::NodeConfig;
using cistern::cacheserver::ValidateConfig;

namespace {

void Require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "node_config_fuzz: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  NodeConfig config;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  if (absl::Status applied = ApplyConfigText(config, text, "fuzz"); !applied.ok()) {
    Require(!applied.message().empty(), "refused without a reason");
    return 0;
  }
  ValidateConfig(config).IgnoreError();
  const std::string written = ConfigToText(config);
  NodeConfig again;
  Require(ApplyConfigText(again, written, "again").ok(), "what was written is refused");
  Require(ConfigToText(again) == written, "what was written is read differently");
  return 0;
}
