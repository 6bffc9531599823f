// Models.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "base/model_config.h"
#include "base/model_presets.h"
#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

void BindModels(nb::module_& module) {
  nb::class_<PyModel>(module, "Model",
                      "What the bytes of one model mean: layers, row layout, rotary parameters, "
                      "state, weights revision.")
      .def_static(
          "preset",
          [](const std::string& name, uint32_t layers) {
            base::ModelSpec spec = Take(base::ModelPreset(name));
            if (layers > spec.num_layers) {
              Raise(absl::InvalidArgumentError(
                  absl::StrCat(name, " has ", spec.num_layers, " layers, not ", layers)));
            }
            if (layers > 0) spec = base::WithLayers(std::move(spec), layers);
            return PyModel{std::move(spec)};
          },
          "name"_a, "layers"_a = 0,
          "A model by name, such as 'deepseek-v3'. `layers`: only the first so many of each kind.")
      .def_static(
          "from_json",
          [](const std::string& json) { return PyModel{Take(base::ModelSpec::FromJson(json))}; },
          "json"_a, "From what `to_json` gave.")
      .def_static(
          "from_config",
          [](const std::string& config, const std::string& name, const std::string& revision,
             const std::string& layout) {
            return PyModel{Take(base::ModelSpecFromHfConfig(
                config, name, revision, {.layout = Take(base::ParseRowLayout(layout))}))};
          },
          "config_json"_a, "name"_a, "revision"_a, "layout"_a = "bf16_576",
          "From the text of a Hugging Face config.json. `revision`: of the weights.")
      .def("to_json", [](const PyModel& model) { return model.spec.ToJson(); })
      .def_prop_ro("name", [](const PyModel& model) { return model.spec.name; })
      .def_prop_ro("fingerprint",
                   [](const PyModel& model) { return model.spec.Fingerprint().ToHex(); })
      .def_prop_ro(
          "num_layers", [](const PyModel& model) { return model.spec.num_layers; },
          "Layers that keep rows.")
      .def_prop_ro(
          "row_bytes", [](const PyModel& model) { return model.spec.row_bytes; },
          "What a token leaves in one of them.")
      .def_prop_ro(
          "rotary_bytes", [](const PyModel& model) { return model.spec.rotary_bytes(); },
          "Of k_r at the end of a row; 0: the rows are opaque.")
      .def_prop_ro("state_layers", [](const PyModel& model) { return model.spec.state.num_layers; })
      .def_prop_ro("temporal_bytes",
                   [](const PyModel& model) {
                     return model.spec.state.present() ? model.spec.state.temporal_bytes() : 0;
                   })
      .def_prop_ro("conv_bytes",
                   [](const PyModel& model) {
                     return model.spec.state.present() ? model.spec.state.conv_bytes() : 0;
                   })
      .def_prop_ro(
          "input_bytes",
          [](const PyModel& model) {
            return model.spec.state.present() ? model.spec.state.field_bytes()
                                              : std::vector<uint64_t>();
          },
          "Of each input of a state layer, for one token.")
      .def(
          "__eq__", [](const PyModel& a, const PyModel& b) { return a.spec == b.spec; },
          nb::is_operator())
      .def("__repr__", [](const PyModel& model) {
        return absl::StrCat("<cistern.Model ", model.spec.name, ": ", model.spec.num_layers,
                            " layers of ", model.spec.row_bytes, "-byte rows>");
      });
}

}  // namespace cistern::python
