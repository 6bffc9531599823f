#include "client_lib/python/src/arrays.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"

#include "client_lib/python/src/errors.h"

namespace cistern::python {
namespace {

using Code = nb::dlpack::dtype_code;

[[noreturn]] void Wrong(absl::string_view name, absl::string_view what) {
  Raise(absl::InvalidArgumentError(absl::StrCat(name, " ", what)));
}

// nullptr: memory that the processor addresses.
DeviceMemory* PlaceOf(const nb::ndarray<nb::ro>& array, absl::string_view name) {
  switch (array.device_type()) {
    case nb::device::cpu::value:
    case nb::device::cuda_host::value:
    case nb::device::cuda_managed::value:
      return nullptr;
    case nb::device::cuda::value:
      return Take(CudaMemory(static_cast<int>(array.device_id())));
    default:
      break;
  }
  Raise(absl::UnimplementedError(
      absl::StrCat(name, " lies neither in host memory nor in that of a CUDA device")));
}

void CheckHost(const nb::ndarray<nb::ro>& array, absl::string_view name) {
  if (PlaceOf(array, name) != nullptr) Wrong(name, "does not lie in host memory");
}

// Dimensions from `first` on lie densely, last one fastest.
bool IsDense(const nb::ndarray<nb::ro>& array, size_t first) {
  int64_t expected = 1;
  for (size_t i = array.ndim(); i-- > first;) {
    if (array.shape(i) != 1 && array.stride(i) != expected) return false;
    expected *= static_cast<int64_t>(array.shape(i));
  }
  return true;
}

absl::string_view TypeOf(nb::handle object) { return Py_TYPE(object.ptr())->tp_name; }

Array ReadArray(nb::handle from, absl::string_view name) {
  Array out;
  nb::ndarray<> writable;
  if (nb::try_cast(from, writable)) {
    out.array = nb::ndarray<nb::ro>(writable);
    out.writable = true;
  } else if (!nb::try_cast(from, out.array)) {
    Wrong(name,
          absl::StrCat("is a ", TypeOf(from), ", not an array with DLPack or the buffer protocol"));
  }
  out.device = PlaceOf(out.array, name);
  return out;
}

std::vector<Array> ReadList(nb::handle layers, const std::string& name, size_t count) {
  std::vector<Array> arrays;
  if (layers.is_none()) return arrays;
  nb::iterator layer = IterateOver(layers, name, "a sequence of arrays, one for each layer");
  for (; layer != nb::iterator::sentinel(); ++layer) {
    arrays.push_back(ReadArray(*layer, absl::StrCat(name, "[", arrays.size(), "]")));
  }
  if (arrays.size() != count) {
    Wrong(name, absl::StrCat("has ", arrays.size(), " arrays, the model ", count, " layers"));
  }
  for (const Array& array : arrays) {
    if (array.device != arrays[0].device) Wrong(name, "do not all lie in the same memory");
  }
  return arrays;
}

// A plain int of one digit (below 2^30, as CPython is mostly built): a fraction of what a call
// of PyLong_AsLongLong takes. False: it has none or several, or Python does not show its digits.
inline bool AsOneDigit(PyObject* object, uint32_t* value) {
#if PY_VERSION_HEX >= 0x030c0000
  const auto* const number = reinterpret_cast<const PyLongObject*>(object);
  if (PyUnstable_Long_IsCompact(number) == 0) return false;
  const Py_ssize_t digit = PyUnstable_Long_CompactValue(number);
  *value = static_cast<uint32_t>(digit);
  return digit >= 0;
#elif PY_VERSION_HEX >= 0x030b0000
  if (Py_SIZE(object) != 1) return false;  // its sign is the number's
  *value = reinterpret_cast<const PyLongObject*>(object)->ob_digit[0];
  return true;
#else
  static_cast<void>(object), static_cast<void>(value);
  return false;
#endif
}

// A plain int of 32 bits. Runs no code of Python's, and leaves no exception.
inline bool AsTokenId(PyObject* object, uint32_t* value) {
  if (!PyLong_CheckExact(object)) return false;
  if (AsOneDigit(object, value)) return true;
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
  *value = static_cast<uint32_t>(number);
  return overflow == 0 && number >= 0 && number <= std::numeric_limits<uint32_t>::max();
}

template <typename T>
std::vector<uint32_t> Converted(const nb::ndarray<nb::ro>& array, const char* name) {
  const auto* data = static_cast<const T*>(array.data());
  std::vector<uint32_t> out;
  out.reserve(array.shape(0));
  for (size_t i = 0; i < array.shape(0); ++i) {
    const auto value = static_cast<int64_t>(data[static_cast<int64_t>(i) * array.stride(0)]);
    if (value < 0 || value > std::numeric_limits<uint32_t>::max()) {
      Wrong(name, absl::StrCat("[", i, "] is ", value));
    }
    out.push_back(static_cast<uint32_t>(value));
  }
  return out;
}

// The name of a type whose elements are floating numbers; "": others, which say nothing about what
// they hold.
std::string FloatName(nb::dlpack::dtype type) {
  switch (static_cast<Code>(type.code)) {
    case Code::Int:
    case Code::UInt:
    case Code::Bool:
      return "";
    case Code::Bfloat:
      return absl::StrCat("bfloat", type.bits);
    case Code::Float:
      return absl::StrCat("float", type.bits);
    case Code::Complex:
    case Code::Bcomplex:
      return absl::StrCat("complex", type.bits);
    default:
      return absl::StrCat("a float of ", type.bits, " bits");
  }
}

bool IsBf16(nb::dlpack::dtype type) {
  return type.code == static_cast<uint8_t>(Code::Bfloat) && type.bits == 16;
}

bool IsE4m3(nb::dlpack::dtype type) {
  return type.code == static_cast<uint8_t>(Code::Float8_E4M3) ||
         type.code == static_cast<uint8_t>(Code::Float8_E4M3FN);
}

// Whether an array of `type` may hold rows of `layout`.
bool MayHold(base::RowLayout layout, nb::dlpack::dtype type) {
  if (FloatName(type).empty()) return true;
  switch (layout) {
    case base::RowLayout::kBf16_576:
      return IsBf16(type);
    case base::RowLayout::kFp8DsMla656:
      return IsE4m3(type);
    case base::RowLayout::kOpaque:
      break;
  }
  return true;
}

}  // namespace

nb::iterator IterateOver(nb::handle from, absl::string_view name, absl::string_view what) {
  PyObject* const iterator = PyObject_GetIter(from.ptr());
  if (iterator == nullptr) {
    PyErr_Clear();
    Wrong(name, absl::StrCat("is a ", TypeOf(from), ", not ", what));
  }
  return nb::steal<nb::iterator>(iterator);
}

Numbers::Numbers(nb::handle from, const char* name) {
  if (from.is_none()) return;
  nb::ndarray<nb::ro> array;
  if (!nb::isinstance<nb::list>(from) && !nb::isinstance<nb::tuple>(from) &&
      nb::try_cast(from, array)) {
    CheckHost(array, name);
    const nb::dlpack::dtype type = array.dtype();
    const bool integer = type.code == static_cast<uint8_t>(Code::Int) ||
                         type.code == static_cast<uint8_t>(Code::UInt);
    if (array.ndim() != 1 || !integer || type.lanes != 1) {
      Wrong(name, "is not a one-dimensional array of integers");
    }
    const bool is_signed = type.code == static_cast<uint8_t>(Code::Int);
    if (type.bits == 32 && !is_signed && (array.stride(0) == 1 || array.shape(0) <= 1)) {
      array_ = array;
      numbers_ = {static_cast<const uint32_t*>(array.data()), array.shape(0)};
      return;
    }
    if (type.bits == 64) {
      copy_ = is_signed ? Converted<int64_t>(array, name) : Converted<uint64_t>(array, name);
    } else if (type.bits == 32) {
      copy_ = is_signed ? Converted<int32_t>(array, name) : Converted<uint32_t>(array, name);
    } else if (type.bits == 16) {
      copy_ = is_signed ? Converted<int16_t>(array, name) : Converted<uint16_t>(array, name);
    } else {
      Wrong(name, "has integers of a size that is neither 16, 32 nor 64 bits");
    }
    numbers_ = copy_;
    return;
  }
  ReadSequence(from, name);
  numbers_ = copy_;
}

void Numbers::Append(nb::handle one, const char* name) {
  uint32_t value = 0;
  if (!AsTokenId(one.ptr(), &value) && !nb::try_cast(one, value)) {
    Wrong(name, absl::StrCat("[", copy_.size(), "] is not an integer from 0 to 2^32 - 1"));
  }
  copy_.push_back(value);
}

// A tokenizer's list is read in a few nanoseconds a number; only what is no plain int, of a few
// types, runs code of Python's, which may change the list.
void Numbers::ReadSequence(nb::handle from, const char* name) {
  if (PyList_Check(from.ptr()) != 0 || PyTuple_Check(from.ptr()) != 0) {
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(from.ptr());
    PyObject** const items = PySequence_Fast_ITEMS(from.ptr());
    copy_.resize(static_cast<size_t>(size));
    Py_ssize_t plain = 0;
    while (plain < size && AsTokenId(items[plain], &copy_[static_cast<size_t>(plain)])) ++plain;
    copy_.resize(static_cast<size_t>(plain));
    for (Py_ssize_t i = plain; i < PySequence_Fast_GET_SIZE(from.ptr()); ++i) {
      Append(nb::borrow(PySequence_Fast_GET_ITEM(from.ptr(), i)), name);
    }
    return;
  }
  nb::iterator one = IterateOver(from, name, "a sequence or an array of integers");
  for (; one != nb::iterator::sentinel(); ++one) Append(*one, name);
}

// ---- Paged caches

void Cache::AddLayer(const Array& from, size_t first_dim) {
  const nb::ndarray<nb::ro>& array = from.array;
  const size_t dims = array.ndim() - first_dim;
  if (dims < 3) Wrong("layers", "have the shape [blocks, block_tokens, ...]");
  if (!IsDense(array, first_dim + 2)) Wrong("layers", "have rows that do not lie densely");
  const uint64_t item = array.itemsize();
  uint64_t row = item;
  for (size_t i = first_dim + 2; i < array.ndim(); ++i) row *= array.shape(i);
  const int64_t block_stride = array.stride(first_dim), row_stride = array.stride(first_dim + 1);
  if (block_stride < 0 || row_stride < 0) Wrong("layers", "have a negative stride");
  PagedCache layer;
  layer.num_blocks = array.shape(first_dim);
  layer.block_tokens = static_cast<uint32_t>(array.shape(first_dim + 1));
  layer.block_stride = static_cast<uint64_t>(block_stride) * item;
  layer.row_stride = static_cast<uint64_t>(row_stride) * item;
  if (view_.layer_base.empty()) {
    view_.num_blocks = layer.num_blocks;
    view_.block_tokens = layer.block_tokens;
    view_.block_stride = layer.block_stride;
    view_.row_stride = layer.row_stride;
    row_bytes_ = row;
    view_.device = from.device;
  } else if (layer.num_blocks != view_.num_blocks || layer.block_tokens != view_.block_tokens ||
             layer.block_stride != view_.block_stride || layer.row_stride != view_.row_stride ||
             row != row_bytes_) {
    Wrong("layers", "do not all have the same shape and strides");
  }
  if (from.device != view_.device) Wrong("layers", "do not all lie in the same memory");
  view_.layer_base.push_back(from.data());
}

Cache::Cache(nb::handle layers, nb::handle block_table) {
  Array whole;
  if (!nb::isinstance<nb::list>(layers) && !nb::isinstance<nb::tuple>(layers)) {
    whole = ReadArray(layers, "layers");
    if (whole.array.ndim() < 4)
      Wrong("layers", "have the shape [layers, blocks, block_tokens, ...]");
    AddLayer(whole, 1);
    const int64_t stride = whole.array.stride(0) * static_cast<int64_t>(whole.array.itemsize());
    std::byte* const first = view_.layer_base.front();
    for (size_t i = 1; i < whole.array.shape(0); ++i) {
      view_.layer_base.push_back(first + static_cast<int64_t>(i) * stride);
    }
    keep_.push_back(whole);
  } else {
    for (const nb::handle layer : nb::iter(layers)) {
      keep_.push_back(ReadArray(layer, absl::StrCat("layers[", keep_.size(), "]")));
      AddLayer(keep_.back(), 0);
    }
    if (keep_.empty()) Wrong("layers", "are none");
  }
  const Numbers table(block_table, "block_table");
  for (const uint32_t block : table.get()) {
    if (block >= view_.num_blocks) {
      Wrong("block_table", absl::StrCat("names block ", block, " of ", view_.num_blocks));
    }
    block_table_.push_back(static_cast<int32_t>(block));
  }
  view_.block_table = block_table_;
}

void Cache::CheckFits(const base::ModelSpec& spec) const {
  if (view_.layer_base.size() != spec.num_layers) {
    Wrong("the cache",
          absl::StrCat("has ", view_.layer_base.size(), " layers, the model ", spec.num_layers));
  }
  if (row_bytes_ != spec.row_bytes) {
    Wrong("the cache",
          absl::StrCat("has rows of ", row_bytes_, " bytes, the model ", spec.row_bytes));
  }
  for (const Array& one : keep_) {
    if (MayHold(spec.layout, one.array.dtype())) continue;
    Wrong("the cache", absl::StrCat("holds ", FloatName(one.array.dtype()),
                                    ", the model's rows are ", base::ToString(spec.layout),
                                    "; arrays of integers of the same width hold any of them"));
  }
}

void Cache::CheckWritable() const {
  for (const Array& one : keep_) {
    if (!one.writable) Wrong("the cache", "lies in read-only memory: it can be published only");
  }
}

std::vector<uintptr_t> Cache::LayerPointers() const {
  std::vector<uintptr_t> pointers;
  pointers.reserve(view_.layer_base.size());
  for (const std::byte* layer : view_.layer_base) {
    pointers.push_back(reinterpret_cast<uintptr_t>(layer));
  }
  return pointers;
}

// ---- Lists of arrays

LayerArrays ReadTokenLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t tokens, uint64_t entry_bytes) {
  LayerArrays out;
  for (Array& layer : ReadList(layers, name, count)) {
    const nb::ndarray<nb::ro>& array = layer.array;
    const std::string one = absl::StrCat(name, "[", out.keep.size(), "]");
    if (array.ndim() == 0 || !IsDense(array, 1)) Wrong(one, "has entries that do not lie densely");
    if (array.shape(0) < tokens) {
      Wrong(one, absl::StrCat("has ", array.shape(0), " entries for ", tokens, " tokens"));
    }
    const uint64_t bytes = array.shape(0) == 0 ? entry_bytes : array.nbytes() / array.shape(0);
    if (bytes != entry_bytes) {
      Wrong(one, absl::StrCat("has entries of ", bytes, " bytes, the model ", entry_bytes));
    }
    auto stride = static_cast<int64_t>(entry_bytes);
    if (array.shape(0) > 1) stride = array.stride(0) * static_cast<int64_t>(array.itemsize());
    if (stride < static_cast<int64_t>(entry_bytes)) Wrong(one, "has entries that overlap");
    if (!out.keep.empty() && static_cast<uint64_t>(stride) != out.stride) {
      Wrong(name, "do not all have the same strides");
    }
    out.stride = static_cast<uint64_t>(stride);
    out.Add(std::move(layer));
  }
  return out;
}

LayerArrays ReadPreRope(nb::handle layers, uint64_t tokens, const base::ModelSpec& spec,
                        const DeviceMemory* beside) {
  LayerArrays arrays =
      ReadTokenLayers(layers, "pre_rope", spec.num_layers, tokens, spec.rotary_bytes());
  for (const Array& one : arrays.keep) {
    const std::string type = FloatName(one.array.dtype());
    if (type.empty() || IsBf16(one.array.dtype())) continue;
    Wrong("pre_rope", absl::StrCat("holds ", type, ", k_r is bfloat16"));
  }
  arrays.CheckPlace("pre_rope", beside);
  return arrays;
}

void LayerArrays::Add(Array layer) {
  pointers.push_back(layer.data());
  device = layer.device;
  keep.push_back(std::move(layer));
}

void LayerArrays::CheckPlace(absl::string_view name, const DeviceMemory* wanted) const {
  if (keep.empty() || device == wanted) return;
  Wrong(name, wanted == nullptr ? "does not lie in host memory" : "lies elsewhere than the rest");
}

void LayerArrays::CheckWritable(absl::string_view name) const {
  for (size_t i = 0; i < keep.size(); ++i) {
    if (!keep[i].writable) Wrong(absl::StrCat(name, "[", i, "]"), "is not writable");
  }
}

LayerArrays ReadDenseLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t layer_bytes) {
  LayerArrays out;
  for (Array& layer : ReadList(layers, name, count)) {
    const nb::ndarray<nb::ro>& array = layer.array;
    const std::string one = absl::StrCat(name, "[", out.keep.size(), "]");
    if (!IsDense(array, 0)) Wrong(one, "does not lie densely");
    if (array.nbytes() != layer_bytes) {
      Wrong(one, absl::StrCat("has ", array.nbytes(), " bytes, the model ", layer_bytes));
    }
    out.Add(std::move(layer));
  }
  return out;
}

}  // namespace cistern::python
