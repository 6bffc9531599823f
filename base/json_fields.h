// Reading JSON that somebody else wrote: bounds first, then one field at a time, each with an error
// that names it ("model config: rope_scaling.factor is missing").
//
// For the .cc files of base; it brings the JSON library with it. Nothing here throws.
// Errors   InvalidArgument: not JSON, too large, nested too deeply, not an object; a field that is
//          missing, of another type, negative, fractional or out of its range
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

#include <nlohmann/json.hpp>

namespace cistern::base {

using Json = nlohmann::json;  // objects are sorted by key, so that dump() is canonical

inline constexpr size_t kMaxJsonBytes = 4 << 20;
inline constexpr int kMaxJsonDepth = 64;

// One JSON object, borrowed, and the words that its errors begin with.
class JsonObject {
 public:
  // `where` ends with what separates it from a field's name: "model config: " or "...
  // rope_scaling."
  JsonObject(const Json* object, std::string where) : object_(object), where_(std::move(where)) {}

  // Present and not null.
  bool Has(absl::string_view name) const { return Find(name) != nullptr; }
  bool IsObject(absl::string_view name) const;
  const Json& json() const { return *object_; }

  absl::StatusOr<uint64_t> Uint(absl::string_view name, uint64_t max) const;
  absl::StatusOr<uint64_t> UintOr(absl::string_view name, uint64_t max, uint64_t otherwise) const;
  absl::StatusOr<double> Number(absl::string_view name) const;
  absl::StatusOr<double> NumberOr(absl::string_view name, double otherwise) const;
  absl::StatusOr<bool> BoolOr(absl::string_view name, bool otherwise) const;
  absl::StatusOr<std::string> String(absl::string_view name) const;
  absl::StatusOr<JsonObject> Object(absl::string_view name) const;
  // At most `max_count` integers, each at most `max`; empty when the field is missing.
  absl::StatusOr<std::vector<uint32_t>> UintsOr(absl::string_view name, size_t max_count,
                                                uint32_t max) const;
  // At most `max_count` strings; empty when the field is missing.
  absl::StatusOr<std::vector<std::string>> StringsOr(absl::string_view name,
                                                     size_t max_count) const;

  // InvalidArgument "<where><name> <problem>".
  absl::Status Error(absl::string_view name, absl::string_view problem) const;

 private:
  const Json* Find(absl::string_view name) const;
  absl::StatusOr<const Json*> Required(absl::string_view name) const;

  const Json* object_;
  std::string where_;
};

// The object that `text` holds; `what` opens the error ("model spec").
absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view what);

}  // namespace cistern::base
