#include "storage/index/content_index.h"

#include <algorithm>

namespace cistern::storage {
namespace {

bool HasContext(const Object& object) { return object.header.kind == base::ObjectKind::kSegment; }

ContextEntry OwnEntry(Object* object) {
  return {.sequence = object->id, .object = object, .link = false};
}
ContextEntry LinkEntry(Object* object, const ContextLink& link) {
  return {.sequence = link.sequence, .object = object, .link = true};
}

}  // namespace

void ContentIndex::AddEntry(const base::Key& context, const base::Key& parent,
                            const ContextEntry& entry) {
  contexts_[context].push_back(entry);
  ++num_context_entries_;
  if (parent.IsZero()) return;
  children_[parent].insert(entry);
  ++num_children_;
}

void ContentIndex::RemoveEntry(const base::Key& context, const base::Key& parent,
                               const ContextEntry& entry) {
  if (const auto it = contexts_.find(context); it != contexts_.end()) {
    auto& entries = it->second;
    const auto at = std::find_if(entries.begin(), entries.end(), [&](const ContextEntry& e) {
      return e.sequence == entry.sequence;
    });
    if (at != entries.end()) {
      entries.erase(at);
      --num_context_entries_;
    }
    if (entries.empty()) contexts_.erase(it);
  }
  if (parent.IsZero()) return;
  if (const auto it = children_.find(parent); it != children_.end()) {
    num_children_ -= it->second.erase(entry);
    if (it->second.empty()) children_.erase(it);
  }
}

void ContentIndex::Insert(Object* object) {
  const base::ObjectHeader& header = object->header;
  variants_[header.content].push_back(object);
  ++num_objects_;
  if (!HasContext(*object)) return;
  AddEntry(header.context, header.parent_context, OwnEntry(object));
  for (const ContextLink& link : object->links)
    AddEntry(link.context, link.parent_context, LinkEntry(object, link));
  num_links_ += object->links.size();
}

void ContentIndex::Remove(Object* object) {
  const base::ObjectHeader& header = object->header;
  if (const auto it = variants_.find(header.content); it != variants_.end()) {
    auto& objects = it->second;
    if (const auto at = std::find(objects.begin(), objects.end(), object); at != objects.end()) {
      objects.erase(at);
      --num_objects_;
    }
    if (objects.empty()) variants_.erase(it);
  }
  if (!HasContext(*object)) return;
  RemoveEntry(header.context, header.parent_context, OwnEntry(object));
  for (const ContextLink& link : object->links) {
    RemoveEntry(link.context, link.parent_context, LinkEntry(object, link));
  }
  num_links_ -= object->links.size();
}

void ContentIndex::AddLink(Object* object, const ContextLink& link) {
  object->links.push_back(link);
  AddEntry(link.context, link.parent_context, LinkEntry(object, link));
  ++num_links_;
}

void ContentIndex::RemoveLink(Object* object, size_t position) {
  const ContextLink link = object->links[position];
  RemoveEntry(link.context, link.parent_context, LinkEntry(object, link));
  object->links.erase(object->links.begin() + static_cast<ptrdiff_t>(position));
  --num_links_;
}

std::span<Object* const> ContentIndex::Variants(const base::Key& content) const {
  const auto it = variants_.find(content);
  if (it == variants_.end()) return {};
  return {it->second.data(), it->second.size()};
}

Object* ContentIndex::Exact(const base::Key& content, const base::Key& context) const {
  for (Object* object : Variants(content)) {
    if (object->header.context == context) return object;
  }
  return nullptr;
}

Object* ContentIndex::Linked(const base::Key& content, const base::Key& context) const {
  const std::span<const ContextEntry> entries = AtContext(context);
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) {
    if (it->link && it->object->header.content == content) return it->object;
  }
  return nullptr;
}

std::span<const ContextEntry> ContentIndex::AtContext(const base::Key& context) const {
  const auto it = contexts_.find(context);
  if (it == contexts_.end()) return {};
  return {it->second.data(), it->second.size()};
}

const ContentIndex::Children* ContentIndex::ChildrenOf(const base::Key& context) const {
  const auto it = children_.find(context);
  return it == children_.end() ? nullptr : &it->second;
}

}  // namespace cistern::storage
