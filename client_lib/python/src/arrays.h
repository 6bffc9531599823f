// Python's arrays (DLPack, the buffer protocol) as the client's descriptions of memory. Nothing is
// copied but token ids and block tables that do not have the right type.
//
// Errors   raises InvalidArgument: what an array lacks, by the argument's name. Unimplemented,
//          Unavailable: memory that is neither the host's nor that of a CUDA device here
// Thread   with the GIL
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "absl/strings/string_view.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "cistern/device_memory.h"

namespace cistern::python {

namespace nb = nanobind;

// Iterates over an argument. InvalidArgument: it is not `what` ("a sequence of names").
nb::iterator IterateOver(nb::handle from, absl::string_view name, absl::string_view what);

// An array in host memory or in that of a CUDA device. Read-only ones can be published, not fetched
// into.
struct Array {
  nb::ndarray<nb::ro> array;
  bool writable = false;
  DeviceMemory* device = nullptr;  // where it lies; nullptr: host memory
  std::byte* data() const {        // written to only where `writable`
    return const_cast<std::byte*>(static_cast<const std::byte*>(array.data()));
  }
};

// Token ids or positions of a list, or of an integer array: uint32 and int32 as they are.
class Numbers {
 public:
  Numbers(nb::handle from, const char* name);
  std::span<const uint32_t> get() const { return numbers_; }

 private:
  void ReadSequence(nb::handle from, const char* name);
  void Append(nb::handle one, const char* name);

  nb::ndarray<nb::ro> array_;  // whose memory it is
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
  // Where each layer's memory begins: the arrays' own.
  std::vector<uintptr_t> LayerPointers() const;
  // InvalidArgument: it has other layers or rows than the model, or elements of a floating type
  // that the model's rows do not consist of.
  void CheckFits(const base::ModelSpec& spec) const;
  // InvalidArgument: it lies in read-only memory.
  void CheckWritable() const;

 private:
  void AddLayer(const Array& layer, size_t first_dim);

  std::vector<Array> keep_;
  std::vector<int32_t> block_table_;
  PagedCache view_;
  uint64_t row_bytes_ = 0;
};

// One array for each layer.
struct LayerArrays {
  void Add(Array layer);
  // InvalidArgument: one of them is read-only.
  void CheckWritable(absl::string_view name) const;
  // InvalidArgument: they lie elsewhere. Nothing lies anywhere.
  void CheckPlace(absl::string_view name, const DeviceMemory* wanted) const;

  std::vector<Array> keep;
  std::vector<std::byte*> pointers;
  uint64_t stride = 0;             // bytes between entries of the first dimension
  DeviceMemory* device = nullptr;  // where all of them lie
};
// [tokens, ...]: at least `tokens` entries of `entry_bytes`, each of them dense. None: empty.
LayerArrays ReadTokenLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t tokens, uint64_t entry_bytes);
// k_r before RoPE of `tokens` tokens: bf16, whatever integers it is held in. It lies where the
// cache does.
LayerArrays ReadPreRope(nb::handle layers, uint64_t tokens, const base::ModelSpec& spec,
                        const DeviceMemory* beside);
// Dense, of `layer_bytes`. None: empty.
LayerArrays ReadDenseLayers(nb::handle layers, const std::string& name, size_t count,
                            uint64_t layer_bytes);

}  // namespace cistern::python
