// What the client works out of a model spec once: fingerprint, keys, and cos and sin of every
// position.
//
// Thread   any
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/key.h"
#include "base/model_spec.h"
#include "base/mutex.h"
#include "base/object.h"
#include "kernels/rotary/rotary_table.h"

namespace cistern::client {

class Model {
 public:
  Model(const base::ModelSpec& spec, absl::string_view salt);

  const base::ModelSpec& spec() const { return spec_; }
  const base::Key& fingerprint() const { return fingerprint_; }
  const base::KeySpace& keys() const { return keys_; }

  // Whether a row means the same at every position: NoPE.
  bool position_free() const {
    return spec_.movable() && spec_.rotary.style == base::RotaryStyle::kNone;
  }

  // The table lives as long as the model. An error of RotaryTable::Create is kept and repeated.
  absl::StatusOr<const kernels::RotaryTable*> Table(base::RotaryArithmetic arithmetic) const;

 private:
  static constexpr size_t kArithmetics = 3;
  struct Slot {
    std::unique_ptr<kernels::RotaryTable> table;
    absl::Status error;
  };

  const base::ModelSpec spec_;
  const base::Key fingerprint_;
  const base::KeySpace keys_;
  mutable base::Mutex mutex_;
  mutable std::array<Slot, kArithmetics> tables_ ABSL_GUARDED_BY(mutex_);
};

class ModelBook {
 public:
  static constexpr size_t kMaxModels = 32;  // the one that came first goes first

  explicit ModelBook(absl::string_view salt) : salt_(salt) {}

  // InvalidArgument, naming the field, for a spec that is not valid.
  absl::StatusOr<std::shared_ptr<const Model>> Find(const base::ModelSpec& spec);

 private:
  const std::string salt_;
  base::Mutex mutex_;
  std::vector<std::shared_ptr<const Model>> models_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cistern::client
