// The objects in memory, in the order in which they should go: one policy for each pool and tenant
// rule, and the order among these.
//
//   1  priority of the tenant     lower first
//   2  rung                       spent, then leaves, then interior ones
//   3  worth                      what the policy says
//
// Two ages. A rule's own orders its objects among each other and rises with each of its victims; a
// tenant that keeps within its quota by evicting its own ages nobody else. The common one makes
// tenants comparable and rises no higher than the lowest object of all.
//
// Leaves are objects that nothing in memory continues; within a group the policy chooses among
// them. Interior ones follow only when no leaf may go: rows are most often used as the beginning of
// a prompt, which ends at the first gap. Spent are states that a later state of the same sequence
// has made superfluous: they go before any rows.
//
// Deterministic: the same calls give the same victims.
//
// Cost     a victim: O(pools x tenant rules) times the policy's cost; otherwise the policy's cost
// Needs    Enter: not entered. All others: entered. The object outlives its entry
// Thread   one at a time
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/index/object.h"
#include "storage/policy/eviction_policy.h"
#include "storage/policy/slot_heap.h"
#include "storage/slot_pool.h"

namespace cistern::storage {

class VictimBook {
 public:
  enum class Exit : uint8_t {
    kErased,  // for no lack of room
    kTaken,   // for room, in the way of something larger
    kChosen   // for room, as the victim
  };

  // `policy`: of EvictionPolicyNames(). `priorities`: of the tenant rules, by their index. `slots`
  // are where the objects lie, and outlive the book.
  VictimBook(const std::string& policy, std::vector<uint32_t> priorities, const ObjectSlots& slots);

  // It is in memory. `cost`: FLOPs to compute it again. Sets Object::priority, as do Use and
  // Follow, and Object::repriced where that is another one; its form's rule and pool say which
  // group it joins.
  void Enter(Object& object, double cost, uint64_t bytes);
  void Leave(Object& object, Exit exit);
  void Use(Object& object);
  // Something that continues it has come.
  void Follow(Object& object);
  void File(Object& object, Rung rung);

  // Null: nothing there may go.
  Object* Lowest();
  Object* LowestOfPool(PoolId pool);
  Object* LowestOfRule(uint32_t rule);
  Object* LowestOf(uint32_t rule, PoolId pool);

  // What is left of its worth: an object that is used no more comes down to 0.
  uint64_t Value(const Object& object) const;
  // In terms of Object::priority: at or below it, an object is worth nothing.
  uint64_t inflation() const { return inflation_; }
  size_t size() const { return entered_; }
  size_t listed() const { return listed_; }

 private:
  // Of one policy's objects. Their place is in the policy's entry, which does not need it for them.
  struct Ranks {
    const ObjectSlots* slots;
    EvictionPolicy* policy;
    bool GoesBefore(Slot left, Slot right) const {
      return (*slots)[left].GoesBefore((*slots)[right]);
    }
    uint32_t& PlaceOf(Slot slot) const { return policy->PlaceOf((*slots)[slot].policy_slot); }
  };
  struct Group {
    PoolId pool = 0;
    uint32_t rule = 0;
    std::unique_ptr<EvictionPolicy> policy;
    SlotHeap<Ranks> spent;
    SlotHeap<Ranks> interior;
  };
  struct Candidate {
    Object* object = nullptr;
    uint32_t priority = 0;  // of the tenant
    Rung rung = Rung::kLeaf;
    bool GoesBefore(const Candidate& other) const;
  };

  size_t SlotOf(PoolId pool, uint32_t rule) const { return size_t{pool} * ages_.size() + rule; }
  Group& GroupOf(const Object& object) {
    return groups_[group_of_[SlotOf(object.pool(), object.rule())]];
  }
  template <typename Call>
  void CountUse(const Object& object, Call call);
  Candidate LowestOf(Group& group);
  template <typename Wanted>
  Object* LowestAmong(Wanted wanted);
  void Appraise(Object& object, Group& group);
  void Unlist(Object& object, Group& group);
  void List(Object& object, Group& group, Rung rung);

  const ObjectSlots& slots_;
  std::string policy_;
  std::vector<uint32_t> priorities_;
  uint32_t lowest_priority_;
  std::vector<PolicyAge> ages_;  // by rule
  uint64_t uses_ = 0;            // of all rules: last uses compare
  uint64_t inflation_ = 0;
  std::vector<Group> groups_;
  static constexpr uint32_t kNoGroup = UINT32_MAX;
  std::vector<uint32_t> group_of_;  // [pool x rules + rule]: its place in groups_
  size_t entered_ = 0;
  size_t listed_ = 0;
};

}  // namespace cistern::storage
