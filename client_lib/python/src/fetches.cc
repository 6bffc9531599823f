// Fetches, states that they fill, and what they answer.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

namespace {

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;

void CheckBytes(const LayerArrays& arrays, uint64_t bytes, const char* name) {
  if (arrays.keep.empty() || arrays.layer_bytes == bytes) return;
  Raise(absl::InvalidArgumentError(
      absl::StrCat(name, " have ", arrays.layer_bytes, " bytes a layer, the model ", bytes)));
}

Ranges RangesOf(const std::vector<TokenRange>& from) {
  Ranges ranges;
  ranges.reserve(from.size());
  for (const TokenRange& range : from) ranges.emplace_back(range.begin, range.end);
  return ranges;
}

// Python's memory stays until the fetch is gone, which ends without the GIL: on_layer may wait for
// it on another thread.
class PyFetch {
 public:
  PyFetch(PyPlan& plan, nb::object cache, nb::object on_layer, nb::object pre_rope,
          bool pre_rope_everywhere, nb::object state, nb::object decay, double deadline)
      : client_(plan.client), cache_(std::move(cache)), on_layer_(std::move(on_layer)) {
    plan.get();
    std::unique_ptr<Plan> used = std::move(plan.plan);
    const base::ModelSpec& spec = *plan.spec;
    const auto& destination = nb::cast<const Cache&>(cache_);
    destination.CheckFits(spec);
    FetchOptions options;
    options.deadline = Seconds(deadline);
    if (!on_layer_.is_none()) {
      options.on_layer = [this](uint32_t layer) { OnLayer(layer); };
    }
    pre_rope_ = ReadLayers(pre_rope, "pre_rope", spec.num_layers);
    options.pre_rope = pre_rope_.pointers;
    options.pre_rope_stride = pre_rope_.stride;
    options.pre_rope_everywhere = pre_rope_everywhere;
    if (!state.is_none()) {
      state_ = ReadState(nb::cast<const PyState&>(state), spec.state, /*need_temporal=*/true);
      options.state = state_.view;
    }
    decay_ = ReadDecay(decay, spec.state, &options.constants);
    handle_ = Take(client_->Fetch(std::move(*used), destination.view(), options));
  }
  ~PyFetch() { Close(); }
  PyFetch(const PyFetch&) = delete;
  PyFetch& operator=(const PyFetch&) = delete;

  void WaitLayer(uint32_t layer) {
    absl::Status status;
    {
      nb::gil_scoped_release release;
      status = handle_.WaitLayer(layer);
    }
    RaiseFromCallback();
    Check(status);
  }
  PyResult Wait() {
    absl::StatusOr<FetchResult> result;
    {
      nb::gil_scoped_release release;
      result = handle_.Wait();
    }
    RaiseFromCallback();
    return {Take(std::move(result))};
  }
  Ranges Missing() const { return RangesOf(handle_.Missing()); }
  void Cancel() {
    nb::gil_scoped_release release;
    handle_.Cancel();
  }
  void Close() {
    nb::gil_scoped_release release;
    handle_ = FetchHandle();
  }

 private:
  // The first exception is raised by whoever waits; the layers go on.
  void OnLayer(uint32_t layer) {
    nb::gil_scoped_acquire acquire;
    try {
      on_layer_(layer);
    } catch (nb::python_error& error) {
      if (!raised_.is_valid()) raised_ = nb::borrow(error.value());
    }
  }
  void RaiseFromCallback() {
    if (!raised_.is_valid()) return;
    const nb::object raised = std::move(raised_);
    raised_ = nb::object();
    PyErr_SetObject(raised.type().ptr(), raised.ptr());
    throw nb::python_error();
  }

  const std::shared_ptr<Client> client_;
  const nb::object cache_, on_layer_;
  nb::object raised_;
  LayerArrays pre_rope_, decay_;
  StateArrays state_;
  FetchHandle handle_;  // goes first
};

void BindResults(nb::module_& module) {
  nb::class_<PyState>(module, "State")
      .def(
          "__init__",
          [](PyState* self, nb::object temporal, nb::object conv) {
            new (self) PyState{std::move(temporal), std::move(conv)};
          },
          "temporal"_a.none(), "conv"_a.none())
      .def_ro("temporal", &PyState::temporal)
      .def_ro("conv", &PyState::conv);
  nb::class_<PyResult>(module, "FetchResult", "Rows that are in the cache now, and what is not.")
      .def(nb::init<>())
      .def_prop_ro(
          "missing", [](const PyResult& self) { return RangesOf(self.result.missing); },
          "[(begin, end)] of tokens that were planned and did not come: compute them.")
      .def_prop_ro("delivered", [](const PyResult& self) { return self.result.delivered; })
      .def_prop_ro("bytes_memory", [](const PyResult& self) { return self.result.bytes_memory; })
      .def_prop_ro("bytes_disk", [](const PyResult& self) { return self.result.bytes_disk; })
      .def_prop_ro("mapped_bytes", [](const PyResult& self) { return self.result.mapped_bytes; })
      .def_prop_ro("approximate", [](const PyResult& self) { return self.result.approximate; })
      .def_prop_ro(
          "approximate_from",
          [](const PyResult& self) -> nb::object {
            if (self.result.approximate_from == UINT32_MAX) return nb::none();
            return nb::int_(self.result.approximate_from);
          },
          "Rows from here on have an approximate past; None: none have.")
      .def_prop_ro("state_position",
                   [](const PyResult& self) { return self.result.state_position; })
      .def_prop_ro("state_bytes", [](const PyResult& self) { return self.result.state_bytes; });
}

}  // namespace

StateArrays ReadState(const PyState& state, const base::StateSpec& spec, bool need_temporal) {
  StateArrays arrays;
  if (!spec.present()) Raise(absl::InvalidArgumentError("the model has no recurrent state"));
  if (need_temporal || !state.temporal.is_none()) {
    arrays.temporal = ReadLayers(state.temporal, "state.temporal", spec.num_layers);
    CheckBytes(arrays.temporal, spec.temporal_bytes(), "state.temporal");
  }
  if (spec.conv_width > 0) {
    arrays.conv = ReadLayers(state.conv, "state.conv", spec.num_layers);
    CheckBytes(arrays.conv, spec.conv_bytes(), "state.conv");
  }
  arrays.view.temporal = arrays.temporal.pointers;
  arrays.view.conv = arrays.conv.pointers;
  return arrays;
}

LayerArrays ReadDecay(nb::handle decay, const base::StateSpec& spec, StateConstants* constants) {
  LayerArrays arrays = ReadLayers(decay, "decay", spec.num_layers);
  for (const std::byte* layer : arrays.pointers) {
    constants->decay.push_back(reinterpret_cast<const float*>(layer));
  }
  return arrays;
}

void BindFetches(nb::module_& module) {
  BindResults(module);
  nb::class_<Cache>(module, "PagedCache")
      .def(nb::init<nb::handle, nb::handle>(), "layers"_a, "block_table"_a)
      .def_prop_ro("row_bytes", &Cache::row_bytes);
  nb::class_<PyFetch>(module, "Fetch")
      .def(nb::init<PyPlan&, nb::object, nb::object, nb::object, bool, nb::object, nb::object,
                    double>(),
           "plan"_a, "cache"_a, "on_layer"_a.none(), "pre_rope"_a.none(), "pre_rope_everywhere"_a,
           "state"_a.none(), "decay"_a.none(), "deadline"_a)
      .def("wait_layer", &PyFetch::WaitLayer, "layer"_a)
      .def("wait", &PyFetch::Wait)
      .def_prop_ro("missing", &PyFetch::Missing)
      .def("cancel", &PyFetch::Cancel)
      .def("close", &PyFetch::Close);
}

}  // namespace cistern::python
