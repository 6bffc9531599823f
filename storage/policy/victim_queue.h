// Objects in the order in which they should go: lowest priority first, the older of two equals
// first.
//
// Cost     O(log n); the lowest is O(1)
// Thread   one at a time
#pragma once

#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"

#include "storage/index/object.h"

namespace cistern::storage {

class VictimQueue {
 public:
  // (priority, id) ─► object, in the order of victims.
  using Map = absl::btree_map<std::pair<uint64_t, uint64_t>, Object*>;

  void Insert(uint64_t priority, Object* object) {
    map_.emplace(std::pair(priority, uint64_t{object->id}), object);
  }
  void Erase(uint64_t priority, const Object& object) { map_.erase({priority, object.id}); }
  Object* Lowest() const { return map_.empty() ? nullptr : map_.begin()->second; }
  const Map& map() const { return map_; }

 private:
  Map map_;
};

}  // namespace cistern::storage
