// cistern._native: the client library for Python. What users see is cistern/__init__.py.
#include "client_lib/python/src/bindings.h"

NB_MODULE(_native, module) {
  using namespace cistern::python;     // NOLINT(google-build-using-namespace)
  nanobind::set_leak_warnings(false);  // what lives at module level lives until the end
  module.attr("__version__") = CISTERN_VERSION;
  module.def("end_other_threads", EndOtherThreads);
  BindModels(module);
  BindClients(module);
  BindFetches(module);
  BindPublishing(module);
  BindBlobs(module);
}
