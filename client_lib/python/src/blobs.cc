// Blobs.
#include <cstring>

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

namespace {

// A name's bytes, which are its object's own: str (as UTF-8) or bytes.
absl::string_view NameOf(nb::handle name) {
  if (PyBytes_Check(name.ptr()) != 0) {
    return {PyBytes_AS_STRING(name.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(name.ptr()))};
  }
  Py_ssize_t size = 0;
  const char* text =
      PyUnicode_Check(name.ptr()) != 0 ? PyUnicode_AsUTF8AndSize(name.ptr(), &size) : nullptr;
  if (text == nullptr) {  // also of a str that is no text: half of a surrogate pair
    PyErr_Clear();
    Raise(absl::InvalidArgumentError("a blob's name is neither bytes nor str"));
  }
  return {text, static_cast<size_t>(size)};
}

// The names of a call, and the objects that they lie in.
struct Names {
  explicit Names(nb::handle from) {
    if (PyUnicode_Check(from.ptr()) != 0 || PyBytes_Check(from.ptr()) != 0) {
      Raise(absl::InvalidArgumentError("names is one name; a sequence of them is wanted: [name]"));
    }
    PyObject* const tuple = PySequence_Tuple(from.ptr());
    if (tuple == nullptr) {
      if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw nb::python_error();
      PyErr_Clear();
      Raise(absl::InvalidArgumentError(
          absl::StrCat("names is a ", Py_TYPE(from.ptr())->tp_name, ", not a sequence of names")));
    }
    keep = nb::steal<nb::tuple>(tuple);
    views.reserve(keep.size());
    for (const nb::handle name : keep) views.push_back(NameOf(name));
  }
  nb::tuple keep;
  std::vector<absl::string_view> views;
};

// The bytes of anything with the buffer protocol or DLPack.
template <typename... Config>
nb::ndarray<Config...> ReadBytes(nb::handle from, absl::string_view name, bool writable) {
  nb::ndarray<Config...> array;
  if (!nb::try_cast(from, array)) {
    Raise(absl::InvalidArgumentError(
        absl::StrCat("'", name, "' is not ", writable ? "a writable" : "an", " array or buffer")));
  }
  if (array.device_type() != nb::device::cpu::value) {
    Raise(absl::UnimplementedError(absl::StrCat("'", name, "' does not lie in host memory")));
  }
  int64_t expected = 1;
  for (size_t i = array.ndim(); i-- > 0;) {
    if (array.shape(i) != 1 && array.stride(i) != expected) {
      Raise(absl::InvalidArgumentError(absl::StrCat("'", name, "' does not lie densely")));
    }
    expected *= static_cast<int64_t>(array.shape(i));
  }
  return array;
}

const char* TextOf(PutOutcome outcome) {
  switch (outcome) {
    case PutOutcome::kStored:
      return "stored";
    case PutOutcome::kHad:
      return "had";
    case PutOutcome::kDropped:
      break;
  }
  return "dropped";
}

// Pages mostly have one size: its number is made once.
nb::list ListOf(const std::vector<uint64_t>& sizes) {
  PyObject* const list = PyList_New(static_cast<Py_ssize_t>(sizes.size()));
  if (list == nullptr) throw nb::python_error();
  nb::list out = nb::steal<nb::list>(list);
  nb::object number;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (i == 0 || sizes[i] != sizes[i - 1]) number = nb::cast(sizes[i]);
    PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), nb::borrow(number).release().ptr());
  }
  return out;
}

nb::list Find(const PyClient& client, nb::handle names, double deadline) {
  const Names in(names);
  const std::shared_ptr<Client> to = client.get();
  const absl::Duration longest = Seconds(deadline, "deadline");
  auto sizes = Unlocked([&] { return to->blobs().Find(in.views, longest); });
  return ListOf(Take(std::move(sizes)));
}

// {name: "stored" | "had" | "dropped"}
nb::dict Put(const PyClient& client, nb::dict blobs, double deadline) {
  std::vector<absl::string_view> names;
  std::vector<nb::ndarray<nb::ro>> arrays;
  for (const auto& [name, array] : blobs) {
    names.push_back(NameOf(name));
    arrays.push_back(ReadBytes<nb::ro>(array, names.back(), /*writable=*/false));
  }
  std::vector<BlobSource> sources;
  sources.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    sources.push_back(
        {names[i], {static_cast<const std::byte*>(arrays[i].data()), arrays[i].nbytes()}});
  }
  const std::shared_ptr<Client> to = client.get();
  const absl::Duration longest = Seconds(deadline, "deadline");
  auto outcomes = Unlocked([&] { return to->blobs().Put(sources, longest); });
  const std::vector<PutOutcome> all = Take(std::move(outcomes));
  nb::dict out;
  size_t i = 0;
  for (const auto& [name, array] : blobs) out[name] = TextOf(all[i++]);
  return out;
}

// {name: whether it was filled}
nb::dict Get(const PyClient& client, nb::dict blobs, double deadline) {
  std::vector<absl::string_view> names;
  std::vector<nb::ndarray<>> arrays;
  for (const auto& [name, array] : blobs) {
    names.push_back(NameOf(name));
    arrays.push_back(ReadBytes<>(array, names.back(), /*writable=*/true));
  }
  std::vector<BlobTarget> targets;
  targets.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    targets.push_back({names[i], {static_cast<std::byte*>(arrays[i].data()), arrays[i].nbytes()}});
  }
  const std::shared_ptr<Client> to = client.get();
  const absl::Duration longest = Seconds(deadline, "deadline");
  auto outcomes = Unlocked([&] { return to->blobs().Get(targets, longest); });
  const std::vector<GetOutcome> all = Take(std::move(outcomes));
  nb::dict out;
  size_t i = 0;
  for (const auto& [name, array] : blobs) {
    if (all[i] == GetOutcome::kOtherSize) {
      Raise(absl::InvalidArgumentError(
          absl::StrCat("'", names[i], "' has another size than its array's ", arrays[i].nbytes())));
    }
    out[name] = all[i++] == GetOutcome::kFilled;
  }
  return out;
}

uint64_t Pin(const PyClient& client, nb::handle names, bool pinned, double deadline) {
  const Names in(names);
  const std::shared_ptr<Client> to = client.get();
  const absl::Duration longest = Seconds(deadline, "deadline");
  auto stored = Unlocked([&] { return to->blobs().Pin(in.views, pinned, longest); });
  return Take(std::move(stored));
}

using Piece = nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>>;

// Each array keeps the view, and the view its lease.
struct PyView {
  std::shared_ptr<BlobView> view;
};

nb::list ArraysOf(nb::handle self) {
  const auto& view = nb::cast<const PyView&>(self);
  nb::list arrays;
  for (const auto run : view.view->runs()) {
    const size_t shape[1] = {run.size()};
    arrays.append(nb::cast(Piece(run.data(), 1, shape, self)));
  }
  return arrays;
}

// The pieces one after another, in the interpreter's own memory; FailedPrecondition: the lease was
// taken back meanwhile, so that the copy may hold others' bytes.
nb::bytes CopyOf(const PyView& self) {
  PyObject* const copy =
      PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(self.view->size()));
  if (copy == nullptr) throw nb::python_error();
  const auto bytes = nb::steal<nb::bytes>(copy);
  char* at = PyBytes_AS_STRING(copy);
  const bool whole = Unlocked([&] {
    for (const auto run : self.view->runs()) {
      std::memcpy(at, run.data(), run.size());
      at += run.size();
    }
    return self.view->StillThere();
  });
  if (!whole) {
    Raise(
        absl::FailedPreconditionError("the node has taken this view's lease back; view it again"));
  }
  return bytes;
}

// What numpy asks for where the buffer protocol does not serve. One piece: the node's memory;
// several: a copy.
nb::object ArrayOf(nb::handle self, nb::handle dtype, nb::handle copy) {
  const auto& view = nb::cast<const PyView&>(self);
  nb::object array;
  if (view.view->runs().size() == 1) {
    array = ArraysOf(self)[0];
  } else if (copy.is(nb::handle(Py_False))) {
    throw nb::value_error("this view lies in several pieces: an array of it is a copy");
  } else {
    array = nb::module_::import_("numpy").attr("frombuffer")(CopyOf(view), "uint8");
  }
  if (!dtype.is_none()) array = array.attr("astype")(dtype, "copy"_a = false);
  return copy.is(nb::handle(Py_True)) ? array.attr("copy")() : array;
}

int GetBuffer(PyObject* self, Py_buffer* buffer, int flags) {
  buffer->obj = nullptr;  // as every failure leaves it
  if (!nb::inst_ready(self)) {
    PyErr_SetString(PyExc_BufferError, "this view was made without a blob");
    return -1;
  }
  const auto& runs = nb::inst_ptr<PyView>(self)->view->runs();
  if (runs.size() != 1) {
    PyErr_SetString(PyExc_BufferError,
                    "this view lies in several pieces: use its arrays, or bytes(view), a copy");
    return -1;
  }
  return PyBuffer_FillInfo(buffer, self, const_cast<std::byte*>(runs[0].data()),
                           static_cast<Py_ssize_t>(runs[0].size()), /*readonly=*/1, flags);
}
PyType_Slot view_slots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(GetBuffer)}, {0, nullptr}};

nb::list View(const PyClient& client, nb::handle names, double deadline) {
  const Names in(names);
  const std::shared_ptr<Client> to = client.get();
  const absl::Duration longest = Seconds(deadline, "deadline");
  auto views = Unlocked([&] { return to->blobs().View(in.views, longest); });
  nb::list out;
  for (BlobView& view : Take(std::move(views))) {
    if (view.found()) {
      out.append(nb::cast(PyView{SharedWithoutGil(std::make_unique<BlobView>(std::move(view)))}));
    } else {
      out.append(nb::none());
    }
  }
  return out;
}

}  // namespace

void BindBlobs(nb::module_& module) {
  nb::class_<PyView>(module, "BlobView",
                     "A blob in the node's memory, read in place; leased as long as this or an "
                     "array of it lives. memoryview(view) and np.asarray(view) are the node's "
                     "memory itself where it "
                     "lies in one piece; where it lies in several, np.asarray(view) is a copy, and "
                     "so is bytes(view) always.",
                     nb::type_slots(view_slots))
      .def_prop_ro("nbytes", [](const PyView& self) { return self.view->size(); })
      .def("__len__", [](const PyView& self) { return self.view->size(); })
      .def("__bytes__", CopyOf)
      .def("__array__", ArrayOf, "dtype"_a.none() = nb::none(), "copy"_a.none() = nb::none())
      .def("__repr__",
           [](const PyView& self) {
             return absl::StrCat("<cistern.BlobView of ", self.view->size(), " bytes in ",
                                 self.view->runs().size(), " pieces>");
           })
      .def_prop_ro("arrays", ArraysOf,
                   "Read-only uint8 arrays, in order: the pieces that the blob lies in.")
      .def(
          "still_there", [](const PyView& self) { return self.view->StillThere(); },
          "Whether all that was read until now was the blob.");
  module.def("blobs_find", Find, "client"_a, "names"_a, "deadline"_a);
  module.def("blobs_put", Put, "client"_a, "blobs"_a, "deadline"_a);
  module.def("blobs_get", Get, "client"_a, "blobs"_a, "deadline"_a);
  module.def("blobs_pin", Pin, "client"_a, "names"_a, "pinned"_a, "deadline"_a);
  module.def("blobs_view", View, "client"_a, "names"_a, "deadline"_a);
}

}  // namespace cistern::python
