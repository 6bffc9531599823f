// Python's arrays (DLPack, the buffer protocol) as the client's descriptions of memory. Nothing is
// copied but token ids and block tables that do not have the right type.
//
// Errors   raises InvalidArgument: what an array lacks. Unimplemented: memory that is not the
// host's Thread   with the GIL
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "base/model_spec.h"
#include "cistern/client.h"

namespace cistern::python {

namespace nb = nanobind;

// Token ids or positions of a list, or of an integer array: uint32 and int32 as they are.
class Numbers {
 public:
  Numbers(nb::handle from, const char* name);
  std::span<const uint32_t> get() const { return numbers_; }

 private:
  nb::object keep_;  // the array whose memory it is
  nb::ndarray<nb::ro> array_;
  std::vector<uint32_t> copy_;
  std::span<const uint32_t> numbers_;
};

// A paged cache whose memory Python owns.
//
// Shapes   each layer [blocks, block_tokens, ...], the last dimensions dense: one row. Or one array
//          [layers, blocks, block_tokens, ...]
class Cache {
 public:
  Cache(nb::handle layers, nb::handle block_table);

  PagedCache view() const { return view_; }
  uint64_t row_bytes() const { return row_bytes_; }
  // InvalidArgument: it has other layers or rows than the model.
  void CheckFits(const base::ModelSpec& spec) const;

 private:
  void AddLayer(const nb::ndarray<>& array, size_t first_dim);

  std::vector<nb::ndarray<>> keep_;
  std::vector<int32_t> block_table_;
  PagedCache view_;
  uint64_t row_bytes_ = 0;
};

// One array for each layer.
struct LayerArrays {
  std::vector<nb::ndarray<>> keep;
  std::vector<std::byte*> pointers;
  uint64_t stride = 0;  // bytes between entries of the first dimension
};
// [tokens, ...]: at least `tokens` entries of `entry_bytes`, each of them dense. None: empty.
LayerArrays ReadTokenLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t tokens, uint64_t entry_bytes);
// Dense, of `layer_bytes`. None: empty.
LayerArrays ReadDenseLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t layer_bytes);

}  // namespace cistern::python
