// What the handles of the C interface are, and what all of its calls do first and last.
//
// Thread   any
#pragma once

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "client_lib/c/cistern.h"

struct cistern_client {
  std::unique_ptr<cistern::Client> client;
};
struct cistern_model {
  cistern::base::ModelSpec spec;
};
struct cistern_plan {
  std::optional<cistern::Plan> plan;  // none: a fetch has used it up
  cistern::base::ModelSpec spec;
};
struct cistern_fetch {
  cistern::FetchHandle handle;
  std::vector<int32_t> block_table;
};
struct cistern_result {
  cistern::FetchResult result;
};
struct cistern_publishing {
  cistern::RowSource rows;
  std::vector<int32_t> block_table;
  cistern::PublishHandle handle;  // goes first
};
struct cistern_blob_view {
  cistern::BlobView view;
};

namespace cistern::c {

int32_t Report(const absl::Status& status, cistern_error* error);

// Runs `call`, which answers a Status; nothing is thrown into C.
template <typename Fn>
int32_t Call(cistern_error* error, Fn call) noexcept {
  try {
    return Report(call(), error);
  } catch (const std::bad_alloc&) {
    return Report(absl::ResourceExhaustedError("no memory"), error);
  } catch (const std::exception& exception) {
    return Report(absl::InternalError(exception.what()), error);
  }
}

// The same where there is no code to answer.
template <typename Fn>
auto CallOr(decltype(std::declval<Fn>()()) otherwise, Fn call) noexcept {
  try {
    return call();
  } catch (const std::exception&) {
    return otherwise;
  }
}

inline absl::Status NullArgument(absl::string_view name) {
  return absl::InvalidArgumentError(absl::StrCat(name, " is NULL"));
}
inline absl::Status Need(const void* pointer, absl::string_view name) {
  return pointer == nullptr ? NullArgument(name) : absl::OkStatus();
}
// `count` entries at `pointer`, which may be NULL when there are none.
inline absl::Status NeedArray(const void* pointer, size_t count, absl::string_view name) {
  return pointer == nullptr && count > 0 ? NullArgument(name) : absl::OkStatus();
}

// What the caller gave, over the defaults that are in `to`. InvalidArgument: no struct_size, or one
// of a later version that says something there.
template <typename Struct>
absl::Status TakeIn(const Struct* from, absl::string_view name, Struct* to) {
  if (from == nullptr) return NullArgument(name);
  const size_t size = from->struct_size;
  if (size < sizeof(size_t)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ".struct_size is not set"));
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  for (size_t i = sizeof(Struct); i < size; ++i) {
    if (bytes[i] != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, " has fields that this library does not know: it is older than the header"));
    }
  }
  std::memcpy(static_cast<void*>(to), from, std::min(size, sizeof(Struct)));
  to->struct_size = sizeof(Struct);
  return absl::OkStatus();
}

// As far as the caller's struct goes.
template <typename Struct>
absl::Status FillOut(const Struct& from, absl::string_view name, Struct* to) {
  if (to == nullptr) return NullArgument(name);
  const size_t size = to->struct_size;
  if (size < sizeof(size_t)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ".struct_size is not set"));
  }
  std::memcpy(static_cast<void*>(to), &from, std::min(size, sizeof(Struct)));
  to->struct_size = size;
  return absl::OkStatus();
}

// The *_init functions.
template <typename Struct>
void Init(const Struct& defaults, Struct* to, size_t size) {
  if (to == nullptr || size < sizeof(size_t)) return;
  std::memset(static_cast<void*>(to), 0, size);
  std::memcpy(static_cast<void*>(to), &defaults, std::min(size, sizeof(Struct)));
  to->struct_size = size;
}

// Up to `capacity` of them; answers how many there are.
template <typename Entry>
size_t CopyOut(const std::vector<Entry>& from, Entry* to, size_t capacity) {
  if (to != nullptr) std::copy_n(from.begin(), std::min(from.size(), capacity), to);
  return from.size();
}

template <typename T>
std::vector<T*> Pointers(void* const* from, size_t count) {
  std::vector<T*> pointers;
  pointers.reserve(count);
  for (size_t i = 0; i < count; ++i) pointers.push_back(static_cast<T*>(from[i]));
  return pointers;
}
template <typename T>
std::vector<const T*> Pointers(const void* const* from, size_t count) {
  std::vector<const T*> pointers;
  pointers.reserve(count);
  for (size_t i = 0; i < count; ++i) pointers.push_back(static_cast<const T*>(from[i]));
  return pointers;
}

inline absl::Duration Millis(uint32_t count) { return absl::Milliseconds(count); }
inline uint32_t ToMillis(absl::Duration duration) {
  return static_cast<uint32_t>(absl::ToInt64Milliseconds(duration));
}

// ---- Descriptions that several calls take

struct Prompt {
  std::span<const TokenId> tokens;
  std::span<const uint32_t> parts;
};
absl::Status ReadPrompt(const cistern_prompt* prompt, Prompt* to);

// `block_table` of the answer is the caller's memory.
absl::Status ReadCache(const cistern_paged_cache* cache, const base::ModelSpec& spec,
                       absl::string_view name, PagedCache* to);
absl::Status ReadRows(const cistern_rows* rows, const base::ModelSpec& spec, RowSource* to);
// `need_temporal`: false where a log leads to the state.
absl::Status ReadState(const cistern_state* state, const base::StateSpec& spec,
                       absl::string_view name, bool need_temporal, StateView* to);

ClientOptions DefaultClientOptions();
absl::Status ReadClientOptions(const cistern_client_options* options, ClientOptions* to);

std::vector<cistern_span> SpansOf(const std::vector<Span>& spans);
std::vector<cistern_range> RangesOf(const std::vector<TokenRange>& ranges);

}  // namespace cistern::c
