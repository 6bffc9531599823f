// The parts of the module, and the classes that several of them know.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "client_lib/python/src/arrays.h"
#include "client_lib/python/src/unlocked.h"

namespace cistern::python {

struct PyModel {
  base::ModelSpec spec;
};

// Destroys what may wait (for a thread, for a node) without keeping others from Python.
struct WithoutGil {
  template <typename T>
  void operator()(T* object) const {
    if (PyGILState_Check() == 0) {
      delete object;
      return;
    }
    const Unlock unlock;
    delete object;
  }
};
template <typename T>
std::shared_ptr<T> SharedWithoutGil(std::unique_ptr<T> object) {
  return std::shared_ptr<T>(object.release(), WithoutGil());
}

// Shared by whatever came from it and by calls under way, so that it closes last.
struct PyClient {
  std::shared_ptr<Client> client;       // null: closed
  std::shared_ptr<Client> get() const;  // raises when it is closed
};

struct PyPlan {
  std::shared_ptr<Client> client;
  std::shared_ptr<const base::ModelSpec> spec;
  std::shared_ptr<Plan> plan;  // null: used up
  const Plan& get() const;     // raises when it is used up
};

struct PyResult {
  FetchResult result;
};

// A recurrent state in Python's memory.
struct PyState {
  nb::object temporal, conv;  // sequences of arrays, one for each state layer; conv may be None
};
struct StateArrays {
  LayerArrays temporal, conv;
  StateView view;
};
// What a state is for: shared states are only read, and a log may lead to them.
enum class StateUse : uint8_t { kFill, kShare };
// Sizes are checked against the spec.
StateArrays ReadState(const PyState& state, const base::StateSpec& spec, StateUse use);
LayerArrays ReadDecay(nb::handle decay, const base::StateSpec& spec, StateConstants* constants);

// InvalidArgument, naming the argument: it is not positive. More than a year counts as a year.
absl::Duration Seconds(double seconds, const char* name);

void BindModels(nb::module_& module);
void BindClients(nb::module_& module);
void BindFetches(nb::module_& module);
void BindPublishing(nb::module_& module);
void BindBlobs(nb::module_& module);

}  // namespace cistern::python
