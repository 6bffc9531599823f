// What the admin verbs have in common: which objects are meant, and how things look as JSON.
//
// Thread   a worker thread; the store's lock is taken for a page of objects at a time
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

#include "cacheserver/service/call.h"
#include "cacheserver/service/parts.h"
#include "nlohmann/json_fwd.hpp"

namespace cistern::cacheserver {

inline constexpr uint32_t kDefaultRows = 1000;  // of a listing
inline constexpr uint32_t kMaxRows = 10000;

// One listed object, copied out of the store.
struct ListedObject {
  storage::ObjectId id = 0;
  base::ObjectHeader header;
  storage::Where where = storage::Where::kMiss;
  bool pinned = false;
  uint32_t leases = 0;
  double value = 0;
};

// Under the lock. One selector per model that the request means. InvalidArgument when it restricts
// nothing and does not say `all`; NotFound for an unknown model's name.
absl::StatusOr<std::vector<storage::Selector>> SelectorsOf(storage::Store& store,
                                                           const transport::AdminRequest& request);

// At most `limit` objects from `cursor`; `*next` is where to go on, 0 at the end.
std::vector<ListedObject> ListObjects(storage::Store& store,
                                      const std::vector<storage::Selector>& selectors,
                                      uint64_t cursor, uint32_t limit, uint64_t* next);

// JSON on one line; bytes that are not UTF-8 are replaced.
std::string Text(const nlohmann::ordered_json& json);

// Each answers the JSON text of one verb.
std::string StatusJson(const Parts& parts);
std::string ModelsJson(const Parts& parts);
absl::StatusOr<std::string> ListJson(const Parts& parts, const transport::AdminRequest& request);
absl::StatusOr<std::string> InspectJson(const Parts& parts, const transport::AdminRequest& request);
absl::StatusOr<std::string> EvictJson(const Parts& parts, const transport::AdminRequest& request);
absl::StatusOr<std::string> PinJson(const Parts& parts, const transport::AdminRequest& request);
// Blocks on the disk until `give_up`.
absl::StatusOr<std::string> VerifyJson(const Parts& parts, const transport::AdminRequest& request,
                                       absl::Time give_up);
std::string FlushJson(const FlushReport& report);

}  // namespace cistern::cacheserver
