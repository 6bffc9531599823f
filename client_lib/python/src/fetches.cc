// Fetches, states that they fill, and what they answer.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

namespace {

std::string ErrorText(const absl::Status& status) { return status.ok() ? "" : status.ToString(); }

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;

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
    const uint32_t num_tokens = plan.get().num_tokens();
    const base::ModelSpec& spec = *plan.spec;
    const auto& destination = nb::cast<const Cache&>(cache_);
    destination.CheckFits(spec);
    destination.CheckWritable();
    FetchOptions options;
    options.deadline = Seconds(deadline, "deadline");
    if (!on_layer_.is_none()) {
      if (PyCallable_Check(on_layer_.ptr()) == 0) {
        Raise(absl::InvalidArgumentError("on_layer is not callable"));
      }
      options.on_layer = [this](uint32_t layer) { OnLayer(layer); };
    }
    pre_rope_ = ReadPreRope(pre_rope, num_tokens, spec, destination.view().device);
    pre_rope_.CheckWritable("pre_rope");
    options.pre_rope = pre_rope_.pointers;
    options.pre_rope_stride = pre_rope_.stride;
    options.pre_rope_everywhere = pre_rope_everywhere;
    if (!state.is_none()) {
      if (!nb::isinstance<PyState>(state)) throw nb::type_error("state is not a cistern.State");
      state_ = ReadState(nb::cast<const PyState&>(state), spec.state, StateUse::kFill);
      options.state = state_.view;
    }
    decay_ = ReadDecay(decay, spec.state, &options.constants);
    plan.get();  // again: reading arrays runs code of Python's, which may have used the plan up
    const std::shared_ptr<Plan> planned = plan.plan;
    handle_ = SharedWithoutGil(std::make_unique<FetchHandle>(
        Take(client_->Fetch(std::move(*planned), destination.view(), options))));
    plan.plan.reset();  // only now: what is refused above leaves the plan to another call
  }
  ~PyFetch() { Close(); }
  PyFetch(const PyFetch&) = delete;
  PyFetch& operator=(const PyFetch&) = delete;

  void WaitLayer(uint32_t layer) {
    const std::shared_ptr<FetchHandle> handle = HandleToWaitFor();
    auto status = Unlocked([&] { return handle->WaitLayer(layer); });
    RaiseFromCallback();
    Check(status);
  }
  PyResult Wait() {
    const std::shared_ptr<FetchHandle> handle = HandleToWaitFor();
    auto result = Unlocked([&] { return handle->Wait(); });
    RaiseFromCallback();
    return {Take(std::move(result))};
  }
  Ranges Missing() const { return RangesOf(Handle()->Missing()); }
  void Cancel() {
    const std::shared_ptr<FetchHandle> handle = handle_;
    if (handle == nullptr) return;
    const Unlock unlock;
    handle->Cancel();
  }
  // Also while another thread waits, which then returns.
  void Close() {
    Cancel();
    handle_.reset();
  }

  int Traverse(visitproc visit, void* arg) const {
    Py_VISIT(cache_.ptr());
    Py_VISIT(on_layer_.ptr());
    return 0;
  }
  void Clear() {
    Close();
    on_layer_ = nb::none();
  }

 private:
  // The first exception is raised by whoever waits; the layers go on.
  void OnLayer(uint32_t layer) {
    nb::gil_scoped_acquire acquire;
    const PyFetch* const outer = std::exchange(announcing, this);
    try {
      on_layer_(layer);
    } catch (nb::python_error& error) {
      if (!raised_.is_valid()) raised_ = nb::borrow(error.value());
    }
    announcing = outer;
  }
  void RaiseFromCallback() {
    if (!raised_.is_valid()) return;
    const nb::object raised = std::move(raised_);
    raised_ = nb::object();
    PyErr_SetObject(raised.type().ptr(), raised.ptr());
    throw nb::python_error();
  }

  std::shared_ptr<FetchHandle> Handle() const {
    if (handle_ == nullptr) Raise(absl::FailedPreconditionError("this fetch is closed"));
    return handle_;
  }
  // FailedPrecondition: on_layer waits for the fetch that waits for it.
  std::shared_ptr<FetchHandle> HandleToWaitFor() const {
    if (announcing == this) {
      Raise(absl::FailedPreconditionError("on_layer must not wait for its own fetch"));
    }
    return Handle();
  }

  // Whose on_layer this thread is in; null: none's.
  static thread_local const PyFetch* announcing;

  const std::shared_ptr<Client> client_;
  nb::object cache_, on_layer_;
  nb::object raised_;
  LayerArrays pre_rope_, decay_;
  StateArrays state_;
  std::shared_ptr<FetchHandle> handle_;  // null: closed. Shared with whoever waits
};

thread_local const PyFetch* PyFetch::announcing = nullptr;

int TraverseFetch(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  return nb::inst_ptr<PyFetch>(self)->Traverse(visit, arg);
}
int ClearFetch(PyObject* self) {
  if (!nb::inst_ready(self)) return 0;
  nb::inst_ptr<PyFetch>(self)->Clear();
  return 0;
}
PyType_Slot fetch_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(TraverseFetch)},
                             {Py_tp_clear, reinterpret_cast<void*>(ClearFetch)},
                             {0, nullptr}};

std::string TextOfResult(const PyResult& self) {
  uint64_t delivered = 0, missing = 0;
  for (const Span& span : self.result.delivered) delivered += span.end - span.begin;
  for (const TokenRange& range : self.result.missing) missing += range.end - range.begin;
  std::string text =
      absl::StrCat("<cistern.FetchResult: ", delivered, " tokens delivered, ", missing, " missing");
  if (self.result.state_position > 0) {
    absl::StrAppend(&text, ", state behind token ", self.result.state_position);
  }
  return text + ">";
}

void BindResults(nb::module_& module) {
  nb::class_<PyState>(
      module, "State",
      "The recurrent state of a hybrid model behind one token, in the caller's arrays: for each of "
      "model.state_layers one of model.temporal_bytes in `temporal`, and one of model.conv_bytes "
      "in "
      "`conv` (None for a model without convolution). A fetch fills them, publish_states reads "
      "them.")
      .def(
          "__init__",
          [](PyState* self, nb::object temporal, nb::object conv) {
            new (self) PyState{std::move(temporal), std::move(conv)};
          },
          "temporal"_a.none(), "conv"_a.none())
      .def_ro("temporal", &PyState::temporal)
      .def_ro("conv", &PyState::conv)
      .def("__repr__", [](nb::handle self) {
        const auto count = [&](const char* name) -> std::string {
          const nb::object arrays = self.attr(name);
          const Py_ssize_t size = PyObject_Size(arrays.ptr());
          if (size < 0) PyErr_Clear();
          return size < 0 ? "no" : absl::StrCat(size);
        };
        return absl::StrCat("<cistern.State: ", count("temporal"), " temporal and ", count("conv"),
                            " conv arrays>");
      });
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
      .def_prop_ro(
          "device_error", [](const PyResult& self) { return ErrorText(self.result.device_error); },
          "Of a cache or state in device memory: why it did not take all that came; \"\" "
          "otherwise.")
      .def_prop_ro("state_position",
                   [](const PyResult& self) { return self.result.state_position; })
      .def_prop_ro("state_bytes", [](const PyResult& self) { return self.result.state_bytes; })
      .def("__repr__", TextOfResult);
}

}  // namespace

StateArrays ReadState(const PyState& state, const base::StateSpec& spec, StateUse use) {
  StateArrays arrays;
  if (!spec.present()) Raise(absl::InvalidArgumentError("the model has no recurrent state"));
  if (use == StateUse::kFill || !state.temporal.is_none()) {
    arrays.temporal =
        ReadDenseLayers(state.temporal, "state.temporal", spec.num_layers, spec.temporal_bytes());
  }
  if (spec.conv_width > 0) {
    arrays.conv = ReadDenseLayers(state.conv, "state.conv", spec.num_layers, spec.conv_bytes());
  }
  if (use == StateUse::kFill) {
    arrays.temporal.CheckWritable("state.temporal");
    arrays.conv.CheckWritable("state.conv");
  }
  arrays.view.temporal = arrays.temporal.pointers;
  arrays.view.conv = arrays.conv.pointers;
  arrays.view.device = state.temporal.is_none() ? arrays.conv.device : arrays.temporal.device;
  arrays.conv.CheckPlace("state.conv", arrays.view.device);
  return arrays;
}

LayerArrays ReadDecay(nb::handle decay, const base::StateSpec& spec, StateConstants* constants) {
  const uint64_t values = spec.family == base::StateFamily::kMamba1
                              ? uint64_t{spec.value_dim} * spec.key_dim
                              : spec.num_heads;
  LayerArrays arrays = ReadDenseLayers(decay, "decay", spec.num_layers, values * sizeof(float));
  arrays.CheckPlace("decay", nullptr);
  for (const std::byte* layer : arrays.pointers) {
    constants->decay.push_back(reinterpret_cast<const float*>(layer));
  }
  return arrays;
}

void BindFetches(nb::module_& module) {
  BindResults(module);
  nb::class_<Cache>(
      module, "PagedCache",
      "A worker's own paged cache, described: arrays [blocks, block_tokens, ...], "
      "one for each layer, or one array "
      "[layers, blocks, block_tokens, ...], and the blocks of the sequence in order. "
      "The arrays stay the caller's. "
      "They may lie in the memory of one CUDA device: wait for what its streams do with "
      "these blocks before you hand them over. "
      "Read-only ones can be published, not fetched into. Elements are bfloat16 for "
      "rows of bf16, or integers of any width.")
      .def(nb::init<nb::handle, nb::handle>(), "layers"_a, "block_table"_a)
      .def_prop_ro("row_bytes", &Cache::row_bytes, "Of one token in one layer.")
      .def_prop_ro("layer_pointers", &Cache::LayerPointers,
                   "Where each layer's memory begins: the arrays' own, nothing is copied.")
      .def("__repr__", [](const Cache& cache) {
        const PagedCache view = cache.view();
        return absl::StrCat("<cistern.PagedCache: ", view.layer_base.size(), " layers, ",
                            view.block_table.size(), " blocks of ", view.block_tokens,
                            " tokens, rows of ", cache.row_bytes(), " bytes>");
      });
  nb::class_<PyFetch>(module, "Fetch", nb::type_slots(fetch_slots))
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
