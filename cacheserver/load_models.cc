#include "cacheserver/load_models.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "base/model_config.h"
#include "base/model_presets.h"
#include "base/status_macros.h"
#include "base/units.h"

namespace cistern::cacheserver {
namespace {

absl::StatusOr<base::ModelSpec> FromFile(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in)
    return absl::NotFoundError(
        absl::StrCat("models: cannot read ", path, ": give a preset's name or a config.json"));
  const std::string name =
      std::filesystem::weakly_canonical(path).parent_path().filename().string();
  absl::StatusOr<base::ModelSpec> spec = base::ModelSpecFromHfConfig(text.str(), name, "main");
  if (!spec.ok())
    return absl::Status(spec.status().code(),
                        absl::StrCat("models: ", path, ": ", spec.status().message()));
  return spec;
}

}  // namespace

absl::StatusOr<std::vector<base::ModelSpec>> LoadModels(const std::vector<std::string>& models) {
  std::vector<base::ModelSpec> specs;
  for (const std::string& model : models) {
    const bool is_path = absl::StrContains(model, ".json") || absl::StartsWith(model, "/") ||
                         absl::StartsWith(model, ".");
    absl::StatusOr<base::ModelSpec> spec = is_path ? FromFile(model) : base::ModelPreset(model);
    if (!spec.ok() && !is_path)
      return absl::Status(spec.status().code(), absl::StrCat("models: ", spec.status().message()));
    CISTERN_RETURN_IF_ERROR(spec.status());
    specs.push_back(*std::move(spec));
  }
  return specs;
}

absl::Status CheckModelFits(const base::ModelSpec& spec, uint64_t pool_bytes) {
  if (spec.page_bytes() <= pool_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the node's memory (", base::FormatBytes(pool_bytes),
                   ") does not hold one page of ", spec.name, " (",
                   base::FormatBytes(spec.page_bytes()), "): start it with a larger pool_bytes"));
}

}  // namespace cistern::cacheserver
