#include "storage/index/content_index.h"

#include <algorithm>
#include <utility>

namespace cistern::storage {
namespace {

bool HasContext(const Object& object) { return object.header.kind() != base::ObjectKind::kBlob; }

ContextEntry LinkEntry(Object* object, const ContextLink& link) {
  return {.sequence = link.sequence, .object = object, .link = true};
}

}  // namespace

// ---- Variants: oldest first, a handful

void ContentIndex::InsertVariant(Object* object) {
  Object* last = variants_.Find(object->header.content);
  if (last == nullptr) return variants_.Set(*object);
  while (last->next_variant != kNoSlot) last = &slots_[last->next_variant];
  last->next_variant = object->slot;
}

void ContentIndex::RemoveVariant(Object* object) {
  const Slot next = std::exchange(object->next_variant, kNoSlot);
  Object* before = variants_.Find(object->header.content);
  if (before != object) {
    while (before->next_variant != object->slot) before = &slots_[before->next_variant];
    before->next_variant = next;
  } else if (next != kNoSlot) {
    variants_.Set(slots_[next]);
  } else {
    variants_.Clear(object->header.content);
  }
}

// ---- Own contexts and children: newest first

ContentIndex::EndHeads& ContentIndex::EndsOf(const Object& object) {
  return base::IsState(object.header.kind()) ? states_ : enders_;
}

ContentIndex::BeginHeads& ContentIndex::BeginsOf(const Object& object) {
  switch (object.header.kind()) {
    case base::ObjectKind::kCheckpoint:
      return checkpoints_;
    case base::ObjectKind::kLog:
      return logs_;
    default:
      return children_;
  }
}

void ContentIndex::InsertOwn(Object* object) {
  EndHeads& ends = EndsOf(*object);
  BeginHeads& begins = BeginsOf(*object);
  const Object* const older = ends.Find(object->header.context);
  object->next_ender = older == nullptr ? kNoSlot : older->slot;
  ends.Set(*object);
  ++num_context_entries_;
  if (object->header.parent_context.IsZero()) return;
  Object* const sibling = begins.Find(object->header.parent_context);
  if (sibling != nullptr) {
    object->next_child = sibling->slot;
    sibling->previous_child = object->slot;
  }
  begins.Set(*object);
  ++num_children_;
}

void ContentIndex::RemoveOwn(Object* object) {
  EndHeads& ends = EndsOf(*object);
  BeginHeads& begins = BeginsOf(*object);
  const Slot next = std::exchange(object->next_ender, kNoSlot);
  Object* newer = ends.Find(object->header.context);
  if (newer != object) {
    while (newer->next_ender != object->slot) newer = &slots_[newer->next_ender];
    newer->next_ender = next;
  } else if (next != kNoSlot) {
    ends.Set(slots_[next]);
  } else {
    ends.Clear(object->header.context);
  }
  --num_context_entries_;
  if (object->header.parent_context.IsZero()) return;
  const Slot next_child = std::exchange(object->next_child, kNoSlot);
  const Slot previous_child = std::exchange(object->previous_child, kNoSlot);
  if (next_child != kNoSlot) slots_[next_child].previous_child = previous_child;
  if (previous_child != kNoSlot) {
    slots_[previous_child].next_child = next_child;
  } else if (next_child != kNoSlot) {
    begins.Set(slots_[next_child]);
  } else {
    begins.Clear(object->header.parent_context);
  }
  --num_children_;
}

// ---- What was computed from which state

void ContentIndex::InsertSuccessor(Object* object) {
  if (object->header.kind() != base::ObjectKind::kCheckpoint) return;
  const base::Key origin = object->header.previous_state();
  if (origin.IsZero()) return;
  origins_[object] = origin;
  successors_[origin].push_back(object);
}

// The last state of its context leaves its successors to the one that it was computed from itself.
void ContentIndex::RemoveSuccessor(Object* object) {
  const base::Key origin = OriginOf(*object);
  if (const auto it = successors_.find(origin); it != successors_.end()) {
    auto& siblings = it->second;
    siblings.erase(std::remove(siblings.begin(), siblings.end(), object), siblings.end());
    if (it->second.empty()) successors_.erase(it);
  }
  origins_.erase(object);
  const base::Key& context = object->header.context;
  const auto left = successors_.find(context);
  if (left == successors_.end() || !StatesAt(context).empty()) return;
  const absl::InlinedVector<const Object*, 1> heirs = std::move(left->second);
  successors_.erase(left);
  for (const Object* heir : heirs) {
    if (origin.IsZero()) {
      origins_.erase(heir);
    } else {
      origins_[heir] = origin;
      successors_[origin].push_back(heir);
    }
  }
}

size_t ContentIndex::CountSuccessors(const base::Key& context) const {
  const auto it = successors_.find(context);
  return it == successors_.end() ? 0 : it->second.size();
}

base::Key ContentIndex::OriginOf(const Object& object) const {
  if (object.header.kind() == base::ObjectKind::kLog) return object.header.previous_state();
  const auto it = origins_.find(&object);
  return it == origins_.end() ? base::Key{} : it->second;
}

void ContentIndex::Insert(Object* object) {
  InsertVariant(object);
  ++num_objects_;
  if (HasContext(*object)) InsertOwn(object);
  InsertSuccessor(object);
}

void ContentIndex::Remove(Object* object) {
  RemoveVariant(object);
  --num_objects_;
  if (!HasContext(*object)) return;
  RemoveOwn(object);
  if (base::IsState(object->header.kind())) RemoveSuccessor(object);
  if (!object->linked) return;
  object->linked = false;
  const auto links = links_.find(object);
  for (const ContextLink& link : links->second) RemoveEntry(link);
  num_links_ -= links->second.size();
  links_.erase(links);
}

// ---- Links

void ContentIndex::AddEntry(const ContextLink& link, const ContextEntry& entry) {
  linked_[link.context].push_back(entry);
  ++num_context_entries_;
  if (link.parent_context.IsZero()) return;
  linked_children_[link.parent_context].insert(entry);
  ++num_children_;
}

void ContentIndex::RemoveEntry(const ContextLink& link) {
  if (const auto it = linked_.find(link.context); it != linked_.end()) {
    auto& entries = it->second;
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const ContextEntry& e) {
      return e.sequence == link.sequence;
    });
    if (at != entries.end()) {
      entries.erase(at);
      --num_context_entries_;
    }
    if (entries.empty()) linked_.erase(it);
  }
  if (link.parent_context.IsZero()) return;
  if (const auto it = linked_children_.find(link.parent_context); it != linked_children_.end()) {
    num_children_ -= it->second.erase({.sequence = link.sequence});
    if (it->second.empty()) linked_children_.erase(it);
  }
}

std::span<const ContextLink> ContentIndex::LinksOf(const Object& object) const {
  if (!object.linked) return {};
  return links_.find(&object)->second;
}

void ContentIndex::AddLink(Object* object, const ContextLink& link) {
  links_[object].push_back(link);
  object->linked = true;
  AddEntry(link, LinkEntry(object, link));
  ++num_links_;
}

void ContentIndex::RemoveLink(Object* object, size_t position) {
  const auto it = links_.find(object);
  std::vector<ContextLink>& links = it->second;
  RemoveEntry(links[position]);
  links.erase(links.begin() + static_cast<ptrdiff_t>(position));
  --num_links_;
  if (!links.empty()) return;
  object->linked = false;
  links_.erase(it);
}

// ---- Look-ups

Object* ContentIndex::Exact(const base::Key& content, const base::Key& context) const {
  // A content may have many variants; at a context end a few objects.
  if (context.IsZero()) {
    Object* const blob = variants_.Find(content);
    return blob != nullptr && blob->header.context.IsZero() ? blob : nullptr;
  }
  for (const auto* heads : {&enders_, &states_}) {
    for (Object* object : Enders(slots_, heads->Find(context))) {
      if (object->header.content == content) return object;
    }
  }
  return nullptr;
}

Object* ContentIndex::Linked(const base::Key& content, const base::Key& context) const {
  const std::span<const ContextEntry> entries = LinkedTo(context);
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    if (it->object->header.content == content) return it->object;
  }
  return nullptr;
}

std::span<const ContextEntry> ContentIndex::LinkedTo(const base::Key& context) const {
  const auto it = linked_.find(context);
  if (it == linked_.end()) return {};
  return {it->second.data(), it->second.size()};
}

void ContentIndex::ForEachChild(const base::Key& context,
                                absl::FunctionRef<bool(const ContextEntry&)> each) const {
  Object* own = children_.Find(context);
  const auto linked = linked_children_.find(context);
  auto link = linked == linked_children_.end() ? decltype(linked->second.begin())()
                                               : linked->second.begin();
  const auto end = linked == linked_children_.end() ? link : linked->second.end();
  while (own != nullptr || link != end) {
    if (own == nullptr || (link != end && link->sequence > own->id)) {
      if (!each(*link++)) return;
      continue;
    }
    Object* const child = own;
    own = child->next_child == kNoSlot ? nullptr : &slots_[child->next_child];
    if (!each({.sequence = child->id, .object = child, .link = false})) return;
  }
}

}  // namespace cistern::storage
