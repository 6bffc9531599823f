// The keys of blocks that went lately and how often they were used, oldest forgotten first.
//
// One line of additions, and a table of their places in it that hashes through their keys: a table
// of the keys themselves, beside the line, costs 54 bytes for each instead of 20.
//
// Cost     O(1)
// Thread   one at a time
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/container/flat_hash_set.h"

namespace cistern::storage {

class GhostList {
 public:
  GhostList() : ghosts_(0, Hash{this}, Equal{this}) {}
  GhostList(const GhostList&) = delete;
  GhostList& operator=(const GhostList&) = delete;

  void Add(uint64_t key, uint32_t uses) {
    line_.push_back({.key_high = static_cast<uint32_t>(key >> 32),
                     .key_low = static_cast<uint32_t>(key),
                     .uses = uses});
    const Turn turn{first_ + static_cast<uint32_t>(line_.size() - 1)};
    const auto [it, fresh] = ghosts_.insert(turn);
    if (!fresh) it->number = turn.number;  // what was added last counts
  }
  // The uses that were added with it; it is forgotten.
  std::optional<uint32_t> Take(uint64_t key) {
    const auto it = ghosts_.find(key);
    if (it == ghosts_.end()) return std::nullopt;
    const uint32_t uses = At(*it).uses;
    ghosts_.erase(it);
    return uses;
  }
  // Forgets until at most `limit` additions are remembered.
  void Trim(size_t limit) {
    while (line_.size() > limit) {
      const auto it = ghosts_.find(line_.front().key());
      if (it != ghosts_.end() && it->number == first_) ghosts_.erase(it);
      line_.pop_front();
      ++first_;
    }
  }
  size_t size() const { return ghosts_.size(); }

 private:
  struct Addition {  // 12 bytes
    uint32_t key_high = 0;
    uint32_t key_low = 0;
    uint32_t uses = 0;
    uint64_t key() const { return uint64_t{key_high} << 32 | key_low; }
  };
  // Which addition, of all there ever were, modulo 2^32: fewer are remembered.
  struct Turn {
    mutable uint32_t number = 0;  // of the same key, whichever it is
  };
  const Addition& At(Turn turn) const { return line_[turn.number - first_]; }

  struct KeyOf {
    const GhostList* ghosts;
    uint64_t operator()(uint64_t key) const { return key; }
    uint64_t operator()(Turn turn) const { return ghosts->At(turn).key(); }
  };
  struct Hash {
    using is_transparent = void;
    const GhostList* ghosts;
    template <typename T>
    size_t operator()(const T& of) const {
      return absl::HashOf(KeyOf{ghosts}(of));
    }
  };
  struct Equal {
    using is_transparent = void;
    const GhostList* ghosts;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf{ghosts}(a) == KeyOf{ghosts}(b);
    }
  };

  std::deque<Addition> line_;  // oldest first
  uint32_t first_ = 0;         // the turn of the first one
  absl::flat_hash_set<Turn, Hash, Equal> ghosts_;
};

}  // namespace cistern::storage
