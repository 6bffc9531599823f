// What the recurrent layers of a model are fed with, as a deterministic function of token and
// layer: inputs that a log keeps, convolution rows, and the constants of the weights.
//
// Values are bf16 or float32, as base::StateSpec says. Keys have unit length, as the delta rules
// want them. Decays are mild and differ from head to head and token to token, from tens of tokens
// to thousands, so that a state that has lost, doubled or swapped a token is far from the right one
// for thousands of tokens.
//
// Thread   any; const methods keep no state
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/key.h"
#include "base/model_spec.h"
#include "cistern/state.h"

namespace cistern::tools {

class StateModel {
 public:
  // `spec` is valid and has state layers.
  explicit StateModel(const base::ModelSpec& spec);

  const base::StateSpec& spec() const { return spec_; }

  // What a log keeps of `token` in state layer `layer`: input_bytes bytes, in StateSpec's order.
  void Inputs(base::TokenId token, uint32_t layer, std::byte* inputs) const;
  // What goes into the convolution: conv_row_bytes bytes.
  void ConvRow(base::TokenId token, uint32_t layer, std::byte* row) const;

  // The same in all layers. Mamba-1: A[d][n] = -(n + 1) a[d], as the model initialises it.
  const StateConstants& constants() const { return constants_; }

 private:
  const base::StateSpec spec_;
  std::vector<float> decay_;
  StateConstants constants_;
};

}  // namespace cistern::tools
