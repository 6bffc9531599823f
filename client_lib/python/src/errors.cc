#include "client_lib/python/src/errors.h"

#include <string>

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

namespace cistern::python {

namespace nb = nanobind;

void Raise(const absl::Status& status) {
  const nb::object error =
      nb::module_::import_("cistern.errors")
          .attr("of_status")(static_cast<int>(status.code()), std::string(status.message()));
  PyErr_SetObject(error.type().ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace cistern::python
