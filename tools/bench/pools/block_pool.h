// A pool of numbered blocks of one size, with the bookkeeping of the published allocators: a stack
// of free numbers, which request has which blocks, and which request came last longest ago.
//
// Every step is O(1) a block: blocks and requests are linked through arrays, nothing is searched.
// The order in which numbers come back is part of the published behaviour (it decides whether a
// pool's tail is free), and so it is kept exactly: last in, first out; new pools give the lowest
// number first; numbers added by Resize are given highest first.
//
// Thread   one at a time
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace cistern::tools {

inline constexpr uint32_t kNobody = std::numeric_limits<uint32_t>::max();

// A doubly linked list through an array that its owner keeps; an item is in one list at most.
struct IndexList {
  using Links = std::array<uint32_t, 2>;

  std::array<uint32_t, 2> end = {kNobody, kNobody};

  bool empty() const { return end[0] == kNobody; }
  void Push(std::vector<Links>& links, uint32_t item, int side = 1) {
    links[item][side] = kNobody;
    links[item][1 - side] = end[side];
    (end[side] == kNobody ? end[1 - side] : links[end[side]][side]) = item;
    end[side] = item;
  }
  void Remove(std::vector<Links>& links, uint32_t item) {
    for (int side = 0; side < 2; ++side) {
      const uint32_t neighbour = links[item][side];
      (neighbour == kNobody ? end[side] : links[neighbour][1 - side]) = links[item][1 - side];
    }
  }
};

class BlockPool {
 public:
  // `max_blocks` bounds Resize; requests are numbered below `num_requests`.
  BlockPool(uint32_t num_blocks, uint32_t max_blocks, uint32_t num_requests);

  uint32_t num_blocks() const { return num_blocks_; }
  uint32_t num_free() const { return num_free_; }
  uint64_t operations() const { return operations_; }
  uint32_t owner(uint32_t block) const { return owner_[block]; }

  // Takes `count` blocks and makes the request the latest; `taken`, unless null, gets their
  // numbers. False: there are not so many, nothing happened.
  bool Take(uint32_t request, uint32_t count, std::vector<uint32_t>* taken = nullptr);
  // The request's blocks, in the order in which it took them.
  void GiveAll(uint32_t request);
  void Give(uint32_t block);
  // The request with blocks here that took some longest ago; kNobody: no request has any.
  uint32_t Oldest() const { return recent_.end[0]; }
  // What a failed attempt leaves behind that took every free block, one by one, and gave them back.
  void ReverseFree() { top_ = 1 - top_; }

  // Only the tail can go, and only when it is free. False: nothing changed.
  bool Resize(uint32_t num_blocks);

 private:
  void PushFree(uint32_t block);

  uint32_t num_blocks_;
  uint32_t num_free_ = 0;
  uint64_t operations_ = 0;
  int top_ = 1;  // the end of free_ that is the stack's top
  IndexList free_;
  std::vector<IndexList::Links> block_links_;  // of free_, or of the owner's list
  std::vector<uint32_t> owner_;                // [max_blocks]; kNobody: free, or beyond the tail
  std::vector<IndexList> held_;                // [num_requests]
  IndexList recent_;                           // requests with blocks, oldest first
  std::vector<IndexList::Links> request_links_;
};

}  // namespace cistern::tools
