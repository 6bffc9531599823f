// Models.
#include <iterator>
#include <string>

#include "base/model_config.h"
#include "base/model_presets.h"
#include "base/status_macros.h"
#include "client_lib/c/handles.h"

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

int32_t cistern_model_from_json(const char* json, size_t bytes, cistern_model** model,
                                cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(NeedArray(json, bytes, "json"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    CISTERN_ASSIGN_OR_RETURN(auto spec,
                             cistern::base::ModelSpec::FromJson(absl::string_view(json, bytes)));
    *model = new cistern_model{std::move(spec)};
    return absl::OkStatus();
  });
}

int32_t cistern_model_from_config(const char* json, size_t bytes, const char* name,
                                  const char* revision, int32_t layout, cistern_model** model,
                                  cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(NeedArray(json, bytes, "json"));
    CISTERN_RETURN_IF_ERROR(Need(name, "name"));
    CISTERN_RETURN_IF_ERROR(Need(revision, "revision"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    if (layout < CISTERN_BF16_576 || layout > CISTERN_OPAQUE) {
      return absl::InvalidArgumentError(absl::StrCat("layout is ", layout, "; 0 to 2 are known"));
    }
    CISTERN_ASSIGN_OR_RETURN(auto spec,
                             cistern::base::ModelSpecFromHfConfig(
                                 absl::string_view(json, bytes), name, revision,
                                 {.layout = static_cast<cistern::base::RowLayout>(layout)}));
    *model = new cistern_model{std::move(spec)};
    return absl::OkStatus();
  });
}

int32_t cistern_model_preset(const char* name, uint32_t layers, cistern_model** model,
                             cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(name, "name"));
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    CISTERN_ASSIGN_OR_RETURN(auto spec, cistern::base::ModelPreset(name));
    if (layers > 0) {
      if (layers > spec.num_layers) {
        return absl::InvalidArgumentError(
            absl::StrCat(name, " has ", spec.num_layers, " layers, not ", layers));
      }
      spec = cistern::base::WithLayers(std::move(spec), layers);
    }
    *model = new cistern_model{std::move(spec)};
    return absl::OkStatus();
  });
}

void cistern_model_free(cistern_model* model) { delete model; }

int32_t cistern_model_get_info(const cistern_model* model, cistern_model_info* info,
                               cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(model, "model"));
    const cistern::base::ModelSpec& spec = model->spec;
    cistern_model_info out{};
    const cistern::base::Key fingerprint = spec.Fingerprint();
    static_assert(sizeof(fingerprint) == sizeof(out.fingerprint));
    std::memcpy(out.fingerprint, &fingerprint, sizeof(fingerprint));
    out.num_layers = spec.num_layers;
    out.row_bytes = spec.row_bytes;
    out.rotary_bytes = spec.rotary_bytes();
    if (spec.state.present()) {
      out.state_layers = spec.state.num_layers;
      out.temporal_bytes = spec.state.temporal_bytes();
      out.conv_bytes = spec.state.conv_bytes();
      const std::vector<uint64_t> fields = spec.state.field_bytes();
      if (fields.size() > std::size(out.input_bytes)) {
        return absl::InternalError("a model with more inputs than cistern_model_info has room for");
      }
      out.state_inputs = static_cast<uint32_t>(fields.size());
      std::copy(fields.begin(), fields.end(), out.input_bytes);
    }
    return FillOut(out, "info", info);
  });
}

size_t cistern_model_to_json(const cistern_model* model, char* json, size_t capacity) {
  if (model == nullptr) return 0;
  return CallOr(size_t{0}, [&] {
    const std::string text = model->spec.ToJson();
    if (json == nullptr || capacity == 0) return text.size();
    std::memcpy(json, text.data(), std::min(text.size(), capacity));
    if (text.size() < capacity) json[text.size()] = '\0';
    return text.size();
  });
}
