// The keys of blocks that went lately and how often they were used, oldest forgotten first.
//
// Cost     O(1)
// Thread   one at a time
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace cistern::storage {

class GhostList {
 public:
  void Add(uint64_t key, uint32_t uses) {
    ++turn_;
    ghosts_.insert_or_assign(key, Ghost{.turn = turn_, .uses = uses});
    order_.emplace_back(turn_, key);
  }
  // The uses that were added with it; it is forgotten.
  std::optional<uint32_t> Take(uint64_t key) {
    const auto it = ghosts_.find(key);
    if (it == ghosts_.end()) return std::nullopt;
    const uint32_t uses = it->second.uses;
    ghosts_.erase(it);
    return uses;
  }
  // Forgets until at most `limit` additions are remembered.
  void Trim(size_t limit) {
    while (order_.size() > limit) {
      const auto [turn, key] = order_.front();
      order_.pop_front();
      const auto it = ghosts_.find(key);
      if (it != ghosts_.end() && it->second.turn == turn) ghosts_.erase(it);
    }
  }
  size_t size() const { return ghosts_.size(); }

 private:
  struct Ghost {
    uint64_t turn = 0;  // when it was added last
    uint32_t uses = 0;
  };
  absl::flat_hash_map<uint64_t, Ghost> ghosts_;
  std::deque<std::pair<uint64_t, uint64_t>> order_;  // (when, key)
  uint64_t turn_ = 0;
};

}  // namespace cistern::storage
