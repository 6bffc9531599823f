#include "storage/policy/victim_book.h"

#include <algorithm>
#include <utility>

#include "storage/store.h"

namespace cistern::storage {
namespace {

// Levels stand above every worth: objects of different tenants compare by the tenants' priorities
// first.
static_assert(PriorityLevel(EvictionPolicy::kMaxWorth) == 0);
static_assert(TenantRule::kMaxPriority < kPriorityLevels);
static_assert(uint64_t{kPriorityLevels} << kPriorityLevelShift <= uint64_t{1}
                                                                      << 47);  // Object::priority

// What it is remembered by after it has gone: an object that comes back has another id. Two that
// share a name would share a past, which does no harm.
uint64_t NameOf(const Object& object) {
  return (object.header.content.hi ^ object.header.context.lo) | 1;
}

}  // namespace

VictimBook::VictimBook(const std::string& policy, std::vector<uint32_t> priorities,
                       const ObjectSlots& slots)
    : slots_(slots),
      policy_(policy),
      priorities_(std::move(priorities)),
      lowest_priority_(*std::min_element(priorities_.begin(), priorities_.end())),
      ages_(priorities_.size()) {}

// A call that counts as a use, whichever rule the object is of.
template <typename Call>
void VictimBook::CountUse(const Object& object, Call call) {
  PolicyAge& age = ages_[object.rule()];
  age.uses = uses_;
  call(*GroupOf(object).policy);
  uses_ = age.uses;
}

bool VictimBook::Candidate::GoesBefore(const Candidate& other) const {
  if (object == nullptr || other.object == nullptr) return object != nullptr;
  if (priority != other.priority) return priority < other.priority;
  if (rung != other.rung) return rung < other.rung;
  return object->GoesBefore(*other.object);
}

void VictimBook::Enter(Object& object, double cost, uint64_t bytes) {
  const size_t slot = SlotOf(object.pool(), object.rule());
  if (slot >= group_of_.size()) group_of_.resize(slot + 1, kNoGroup);
  if (group_of_[slot] == kNoGroup) {
    group_of_[slot] = static_cast<uint32_t>(groups_.size());
    auto policy = MakeEvictionPolicy(policy_, &ages_[object.rule()]).value();
    const Ranks ranks{.slots = &slots_, .policy = policy.get()};
    groups_.push_back({.pool = object.pool(),
                       .rule = object.rule(),
                       .policy = std::move(policy),
                       .spent = SlotHeap<Ranks>(ranks),
                       .interior = SlotHeap<Ranks>(ranks)});
  }
  CountUse(object, [&](EvictionPolicy& policy) {
    object.policy_slot =
        policy.Insert({.key = NameOf(object), .cost = cost, .bytes = bytes}, object.slot);
  });
  ++entered_;
  Appraise(object, GroupOf(object));
}

void VictimBook::Leave(Object& object, Exit exit) {
  Group& group = GroupOf(object);
  if (exit == Exit::kChosen) {
    const Object* lowest = Lowest();
    const uint64_t least = lowest == nullptr ? object.priority : lowest->priority;
    inflation_ = std::max(inflation_, std::min(least, object.priority) & EvictionPolicy::kMaxWorth);
  }
  Unlist(object, group);
  if (exit == Exit::kErased) {
    group.policy->Erase(object.policy_slot);
  } else {
    group.policy->Take(object.policy_slot, exit == Exit::kChosen, NameOf(object));
  }
  --entered_;
}

void VictimBook::Use(Object& object) {
  Group& group = GroupOf(object);
  CountUse(object, [&](EvictionPolicy& policy) { policy.Hit(object.policy_slot); });
  Appraise(object, group);
}

void VictimBook::Follow(Object& object) {
  Group& group = GroupOf(object);
  group.policy->Follow(object.policy_slot);
  Appraise(object, group);
}

// Among rules, what counts is how much is left of an object's worth by the rule's own age. Where it
// stands by its priority, it stands there by the new one.
void VictimBook::Appraise(Object& object, Group& group) {
  uint64_t worth = group.policy->Worth(object.policy_slot);
  if (group.policy->inflates()) {
    const uint64_t own = ages_[group.rule].inflation;
    worth = std::min(inflation_ + (worth - std::min(worth, own)), EvictionPolicy::kMaxWorth);
  }
  const uint64_t level = priorities_[group.rule] - lowest_priority_;
  const uint64_t priority = (level << kPriorityLevelShift) + std::max<uint64_t>(worth, 1);
  if (priority == object.priority) return;
  object.repriced = true;
  const Rung rung = object.listed_rung;
  if (rung != Rung::kLeaf) Unlist(object, group);
  object.priority = priority;
  if (rung != Rung::kLeaf) List(object, group, rung);
}

uint64_t VictimBook::Value(const Object& object) const {
  const uint64_t worth = object.priority & EvictionPolicy::kMaxWorth;
  return worth - std::min(worth, inflation_);
}

void VictimBook::Unlist(Object& object, Group& group) {
  switch (object.listed_rung) {
    case Rung::kNone:
      return;
    case Rung::kSpent:
      group.spent.Erase(object.slot);
      break;
    case Rung::kLeaf:
      group.policy->Close(object.policy_slot);
      break;
    case Rung::kInterior:
      group.interior.Erase(object.slot);
      break;
  }
  object.listed_rung = Rung::kNone;
  --listed_;
}

void VictimBook::File(Object& object, Rung rung) {
  if (rung == object.listed_rung) return;
  Group& group = GroupOf(object);
  Unlist(object, group);
  List(object, group, rung);
}

void VictimBook::List(Object& object, Group& group, Rung rung) {
  switch (rung) {
    case Rung::kNone:
      return;
    case Rung::kSpent:
      group.spent.Insert(object.slot);
      break;
    case Rung::kLeaf:
      group.policy->Open(object.policy_slot);
      break;
    case Rung::kInterior:
      group.interior.Insert(object.slot);
      break;
  }
  object.listed_rung = rung;
  ++listed_;
}

VictimBook::Candidate VictimBook::LowestOf(Group& group) {
  const uint32_t priority = priorities_[group.rule];
  const auto candidate = [&](Slot slot, Rung rung) {
    return Candidate{.object = &slots_[slot], .priority = priority, .rung = rung};
  };
  if (!group.spent.empty()) return candidate(group.spent.top(), Rung::kSpent);
  if (const std::optional<Slot> leaf = group.policy->Victim(); leaf.has_value())
    return candidate(group.policy->OwnerOf(*leaf), Rung::kLeaf);
  if (!group.interior.empty()) return candidate(group.interior.top(), Rung::kInterior);
  return {};
}

template <typename Wanted>
Object* VictimBook::LowestAmong(Wanted wanted) {
  Candidate lowest;
  for (Group& group : groups_) {
    if (group.policy->size() == 0 || !wanted(group)) continue;
    const Candidate candidate = LowestOf(group);
    if (candidate.GoesBefore(lowest)) lowest = candidate;
  }
  return lowest.object;
}

Object* VictimBook::Lowest() {
  return LowestAmong([](const Group&) { return true; });
}

Object* VictimBook::LowestOfPool(PoolId pool) {
  return LowestAmong([pool](const Group& group) { return group.pool == pool; });
}

Object* VictimBook::LowestOf(uint32_t rule, PoolId pool) {
  const size_t slot = SlotOf(pool, rule);
  if (slot >= group_of_.size() || group_of_[slot] == kNoGroup) return nullptr;
  return LowestOf(groups_[group_of_[slot]]).object;
}

Object* VictimBook::LowestOfRule(uint32_t rule) {
  return LowestAmong([rule](const Group& group) { return group.rule == rule; });
}

}  // namespace cistern::storage
