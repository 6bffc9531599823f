#include "base/json_fields.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::base {
namespace {

// The deepest nesting of `text`, brackets inside strings left out. Counted before parsing, so that
// no recursion over the parsed value can be deep.
int JsonDepth(absl::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

// What the library says, without its "[json.exception.parse_error.101] ".
absl::string_view Reason(const Json::exception& error) {
  const absl::string_view text = error.what();
  const size_t end = text.find("] ");
  return end == absl::string_view::npos ? text : text.substr(end + 2);
}

bool IsUint(const Json& value, uint64_t max) {
  return value.is_number_unsigned() && value.get<uint64_t>() <= max;
}

}  // namespace

absl::StatusOr<Json> ParseJsonObject(absl::string_view text, absl::string_view what) {
  if (text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": ", text.size(), " bytes; at most ", kMaxJsonBytes, " are read"));
  }
  if (JsonDepth(text) > kMaxJsonDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": nested more than ", kMaxJsonDepth, " levels deep"));
  }
  try {
    Json json = Json::parse(text.begin(), text.end());
    if (json.is_object()) return json;
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": a JSON ", json.type_name(), "; it must be an object { ... }"));
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": not JSON: ", Reason(error)));
  }
}

const Json* JsonObject::Find(absl::string_view name) const {
  const auto found = object_->find(std::string(name));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<const Json*> JsonObject::Required(absl::string_view name) const {
  const Json* value = Find(name);
  if (value == nullptr) return Error(name, "is missing");
  return value;
}

bool JsonObject::IsObject(absl::string_view name) const {
  const Json* value = Find(name);
  return value != nullptr && value->is_object();
}

absl::StatusOr<uint64_t> JsonObject::Uint(absl::string_view name, uint64_t max) const {
  CISTERN_ASSIGN_OR_RETURN(const Json* value, Required(name));
  if (!IsUint(*value, max)) {
    return Error(name, absl::StrCat("must be a whole number from 0 to ", max));
  }
  return value->get<uint64_t>();
}

absl::StatusOr<uint64_t> JsonObject::UintOr(absl::string_view name, uint64_t max,
                                            uint64_t otherwise) const {
  if (!Has(name)) return otherwise;
  return Uint(name, max);
}

absl::StatusOr<double> JsonObject::Number(absl::string_view name) const {
  CISTERN_ASSIGN_OR_RETURN(const Json* value, Required(name));
  if (!value->is_number()) return Error(name, "must be a number");
  return value->get<double>();
}

absl::StatusOr<double> JsonObject::NumberOr(absl::string_view name, double otherwise) const {
  if (!Has(name)) return otherwise;
  return Number(name);
}

absl::StatusOr<bool> JsonObject::BoolOr(absl::string_view name, bool otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) return otherwise;
  if (!value->is_boolean()) return Error(name, "must be true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonObject::String(absl::string_view name) const {
  CISTERN_ASSIGN_OR_RETURN(const Json* value, Required(name));
  if (!value->is_string()) return Error(name, "must be a string");
  return value->get<std::string>();
}

absl::StatusOr<JsonObject> JsonObject::Object(absl::string_view name) const {
  CISTERN_ASSIGN_OR_RETURN(const Json* value, Required(name));
  if (!value->is_object()) return Error(name, "must be an object { ... }");
  return JsonObject(value, absl::StrCat(where_, name, "."));
}

absl::StatusOr<std::vector<uint32_t>> JsonObject::UintsOr(absl::string_view name, size_t max_count,
                                                          uint32_t max) const {
  std::vector<uint32_t> numbers;
  const Json* value = Find(name);
  if (value == nullptr) return numbers;
  if (!value->is_array() || value->size() > max_count) {
    return Error(name, absl::StrCat("must be a list of at most ", max_count, " numbers"));
  }
  numbers.reserve(value->size());
  for (const Json& entry : *value) {
    if (!IsUint(entry, max)) {
      return Error(name, absl::StrCat("must hold whole numbers from 0 to ", max));
    }
    numbers.push_back(entry.get<uint32_t>());
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> JsonObject::StringsOr(absl::string_view name,
                                                               size_t max_count) const {
  std::vector<std::string> texts;
  const Json* value = Find(name);
  if (value == nullptr) return texts;
  if (!value->is_array() || value->size() > max_count) {
    return Error(name, absl::StrCat("must be a list of at most ", max_count, " strings"));
  }
  texts.reserve(value->size());
  for (const Json& entry : *value) {
    if (!entry.is_string()) return Error(name, "must hold strings");
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

absl::Status JsonObject::Error(absl::string_view name, absl::string_view problem) const {
  return absl::InvalidArgumentError(absl::StrCat(where_, name, " ", problem));
}

}  // namespace cistern::base
