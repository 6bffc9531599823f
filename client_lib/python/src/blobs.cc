// Blobs.
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/bindings.h"
#include "client_lib/python/src/errors.h"

namespace cistern::python {

using namespace nb::literals;  // NOLINT(google-build-using-namespace)

namespace {

// Names: str (as UTF-8) or bytes.
std::string NameOf(nb::handle name) {
  if (nb::isinstance<nb::bytes>(name)) {
    const auto bytes = nb::borrow<nb::bytes>(name);
    return {bytes.c_str(), bytes.size()};
  }
  std::string text;
  if (!nb::try_cast(name, text)) {
    Raise(absl::InvalidArgumentError("a blob's name is neither bytes nor str"));
  }
  return text;
}

struct Names {
  explicit Names(nb::handle from) {
    for (const nb::handle name : nb::iter(from)) text.push_back(NameOf(name));
    views.assign(text.begin(), text.end());
  }
  std::vector<std::string> text;
  std::vector<absl::string_view> views;
};

// The bytes of anything with the buffer protocol or DLPack.
template <typename... Config>
nb::ndarray<Config...> ReadBytes(nb::handle from, const std::string& name, bool writable) {
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

std::vector<uint64_t> Find(const PyClient& client, nb::handle names, double deadline) {
  const Names in(names);
  const std::shared_ptr<Client> to = client.get();
  auto sizes = Unlocked([&] { return to->blobs().Find(in.views, Seconds(deadline)); });
  return Take(std::move(sizes));
}

// {name: "stored" | "had" | "dropped"}
nb::dict Put(const PyClient& client, nb::dict blobs, double deadline) {
  std::vector<std::string> names;
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
  auto outcomes = Unlocked([&] { return to->blobs().Put(sources, Seconds(deadline)); });
  const std::vector<PutOutcome> all = Take(std::move(outcomes));
  nb::dict out;
  size_t i = 0;
  for (const auto& [name, array] : blobs) out[name] = TextOf(all[i++]);
  return out;
}

// {name: whether it was filled}
nb::dict Get(const PyClient& client, nb::dict blobs, double deadline) {
  std::vector<std::string> names;
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
  auto outcomes = Unlocked([&] { return to->blobs().Get(targets, Seconds(deadline)); });
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
  auto stored = Unlocked([&] { return to->blobs().Pin(in.views, pinned, Seconds(deadline)); });
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

nb::list View(const PyClient& client, nb::handle names, double deadline) {
  const Names in(names);
  const std::shared_ptr<Client> to = client.get();
  auto views = Unlocked([&] { return to->blobs().View(in.views, Seconds(deadline)); });
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
                     "array of it lives.")
      .def_prop_ro("nbytes", [](const PyView& self) { return self.view->size(); })
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
