// What the recurrent layers of a hybrid model keep: sizes and layouts of their state.
//
// All state layers of a model are of one kind and one shape. At a token boundary each holds a
// temporal state and, before it, the tail of a short causal convolution. Two forms are stored:
//
//   checkpoint  the state of all layers at one boundary. One block a layer:
//               [temporal | conv tail]
//   log         what the layers were fed with since an earlier boundary, token by token, so that
//               the state behind any of its tokens can be folded (kernels/recurrence). One block a
//               token: [layer][inputs], and where the log can be resumed at every token also
//               [layer][conv row]; otherwise the conv tails at its end follow, [layer][conv tail],
//               in as many more blocks
//
// Shapes   temporal [num_heads, value_dim, key_dim], Mamba-1 [value_dim = d_inner, key_dim =
//          d_state]; conv tail [conv_width, conv_channels] bf16, oldest first, before the
//          convolution · inputs of a token in one layer, dense, in this order:
//
//   kMamba1        x [V] bf16, dt [V] bf16, B [K] bf16
//
//   kMamba2        x [H, V] bf16, B [Hk, K] bf16, dt [H] f32
//
//   kLightning     k [Hk, K] bf16, v [H, V] bf16
//
//   kGatedLinear   k, v, g [H, K] f32
//
//   kGatedDelta    k, v, g [H] f32, beta [H] f32
//
//   kKda           k, v, g [H, K] f32, beta [H] f32
//
// k as the recurrence uses it: behind the convolution, activation and, where the model has it,
// normalisation; g the log decay. What is a constant of the model (A of Mamba, the slopes of
// lightning attention) is not logged: who folds brings it.
//
// Source   shapes: vLLM v1 mamba_utils, flash-linear-attention; logs: KVBuffer, arXiv 2605.19049,
//          ReplaySSM
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cistern::base {

enum class StateFamily : uint8_t {
  kNone = 0,  // the model has no recurrent layers
  kMamba1 = 1,
  kMamba2 = 2,
  kLightning = 3,
  kGatedLinear = 4,
  kGatedDelta = 5,
  kKda = 6,
};

enum class StateType : uint8_t { kFloat32 = 0, kBf16 = 1 };

// Where a log has conv tails: behind its last token only, or behind each of them (then the state
// can be resumed at each).
enum class LogTails : uint8_t { kEnd = 0, kEveryToken = 1 };

struct StateSpec {
  static constexpr uint32_t kMaxLayers = 1024;
  static constexpr uint32_t kMaxHeads = 1u << 12;
  static constexpr uint32_t kMaxDim = 1u << 16;
  static constexpr uint32_t kMaxConvWidth = 64;
  static constexpr uint64_t kMaxLayerBytes = 256ull << 20;

  StateFamily family = StateFamily::kNone;
  uint32_t num_layers = 0;
  uint32_t num_heads = 0;      // H, value heads; Mamba-1: 1
  uint32_t num_key_heads = 0;  // Hk, divides H; Mamba-2: n_groups
  uint32_t key_dim = 0;        // K; Mamba: d_state
  uint32_t value_dim = 0;      // V; Mamba-2: head_dim, Mamba-1: d_inner
  uint32_t conv_width = 0;     // inputs that a tail has: the convolution's kernel - 1; 0: no conv
  uint32_t conv_channels = 0;
  StateType temporal_type = StateType::kFloat32;

  bool present() const { return family != StateFamily::kNone; }

  // Bytes of one layer.
  uint64_t temporal_bytes() const;
  uint64_t conv_row_bytes() const { return uint64_t{conv_channels} * 2; }  // of one token
  uint64_t conv_bytes() const { return conv_width * conv_row_bytes(); }
  uint64_t layer_bytes() const { return temporal_bytes() + conv_bytes(); }
  // Of one token: of each of the inputs above, in their order, and of all.
  std::vector<uint64_t> field_bytes() const;
  uint64_t input_bytes() const;

  // Bytes of all layers.
  uint64_t checkpoint_bytes() const { return num_layers * layer_bytes(); }
  uint64_t log_token_bytes(LogTails tails) const;  // of one token: a block of a log
  uint64_t log_bytes(uint32_t tokens, LogTails tails) const;

  // Tokens whose inputs take as many bytes as a state: C* of a log that is folded.
  uint32_t BreakEvenTokens() const;

  // InvalidArgument, naming the field: a family that is unknown, a size that is zero or larger
  // than any model's, heads that do not divide, a convolution with one of its sizes missing. A
  // spec of no family has no sizes.
  absl::Status Validate() const;

  friend bool operator==(const StateSpec&, const StateSpec&) = default;
};

absl::string_view ToString(StateFamily family);
absl::StatusOr<StateFamily> ParseStateFamily(absl::string_view text);
absl::string_view ToString(StateType type);
absl::StatusOr<StateType> ParseStateType(absl::string_view text);
absl::string_view ToString(LogTails tails);

}  // namespace cistern::base
