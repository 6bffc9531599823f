// Fields of a configuration that an estimate needs: one that is missing or absurd makes the
// estimate unknown.
//
// For the .cc files of base.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include "base/json_fields.h"

namespace cistern::base {

class FlopFields {
 public:
  // Bounds that keep the products of an estimate in 64 bits:
  // 2 * layers * 4 * size * size * experts < 2^64.
  static constexpr uint64_t kMaxSize = 1 << 18;
  static constexpr uint64_t kMaxExperts = 1 << 12;
  static constexpr uint64_t kMaxLayers = 1 << 10;

  explicit FlopFields(const JsonObject& config) : config_(config) {}

  uint64_t Size(absl::string_view name) { return Required(name, kMaxSize); }
  uint64_t Layers(absl::string_view name) { return Required(name, kMaxLayers); }
  uint64_t Optional(absl::string_view name, uint64_t max, uint64_t otherwise) {
    return Keep(config_.UintOr(name, max, otherwise));
  }
  // The same number under Hugging Face's two names.
  uint64_t Experts(absl::string_view name, absl::string_view other_name) {
    return Optional(config_.Has(name) ? name : other_name, kMaxExperts, 0);
  }
  bool known() const { return known_; }

 private:
  uint64_t Required(absl::string_view name, uint64_t max) { return Keep(config_.Uint(name, max)); }
  uint64_t Keep(const absl::StatusOr<uint64_t>& value) {
    known_ = known_ && value.ok();
    return value.ok() ? *value : 0;
  }

  const JsonObject& config_;
  bool known_ = true;
};

}  // namespace cistern::base
