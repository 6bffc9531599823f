#include "client_lib/python/src/errors.h"

#include <nanobind/nanobind.h>

#include "absl/strings/string_view.h"

namespace cistern::python {

namespace nb = nanobind;

void Raise(const absl::Status& status) {
  const absl::string_view text = status.message();
  const nb::object message = nb::steal(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
  const nb::object error = nb::module_::import_("cistern.errors")
                               .attr("of_status")(static_cast<int>(status.code()), message);
  PyErr_SetObject(error.type().ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace cistern::python
