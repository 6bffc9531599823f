// World's readers and administrators.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "tests/model/store_world.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::model_test {

using base::Lineage;
using base::ObjectHeader;
using base::ObjectKind;
using storage::BlocksHold;
using storage::Selector;
using storage::Where;

void World::Find() {
  const ObjectHeader header = RandomHeader();
  const bool content = Roll(2) == 0;
  const bool lossless = Roll(2) == 0;
  const auto found = store_->Find({.content = header.content,
                                   .context = header.context,
                                   .accept_content = content,
                                   .lossless = lossless});
  Note(found.object.id);
  const auto known = known_.find({header.content, header.context});
  const bool exact =
      known != known_.end() && (!lossless || known->second.header.lineage == Lineage::kExact);
  if (exact && found.object.id != known->second.id) return Fail("an exact object was not found");
  if (found.object.where == Where::kMiss) {
    for (const auto& [name, other] : known_) {
      const bool serves = !lossless || other.header.lineage == Lineage::kExact;
      if (content && name.first == header.content && serves) return Fail("a variant was not found");
    }
    return;
  }
  if (found.object.header->content != header.content) return Fail("found other content");
  if (lossless && found.lineage != Lineage::kExact) return Fail("found an approximation");
  if (!content && found.match == storage::Match::kContent)
    return Fail("found a variant that nobody asked for");
  if (ById(found.object.id) == nullptr) return Fail("found an object that is gone");
  const auto children = store_->Children(header.parent_context, lossless);
  if (children.size() > 3) return Fail("too many children");
  for (const auto& child : children) Note(child.object.id);
  const auto at = store_->ByContext(header.context, lossless);
  Note(at.object.id);
  const bool segment = header.kind == ObjectKind::kSegment;  // a blob has no context
  if (exact && segment && at.object.id != known->second.id)
    Fail("a real object must win over a link");
  if (at.object.where != Where::kMiss && at.object.header->kind() != ObjectKind::kSegment)
    Fail("found a state instead of a segment");
  for (const auto& child : children) {
    if (child.object.header->kind() != ObjectKind::kSegment) Fail("a state is no child");
  }
  CheckStates(header);
}

// What begins where `header` does, and the logs behind it, as the map knows them.
void World::CheckStates(const ObjectHeader& header) {
  const uint32_t end = storage::EndOf(header);
  size_t checkpoints = 0, logs = 0;
  for (const auto& [name, known] : known_) {
    const ObjectHeader& h = known.header;
    const bool begins =
        h.kind == ObjectKind::kCheckpoint && h.parent_context == header.parent_context;
    const bool continues =
        h.kind == ObjectKind::kLog && h.parent_context == header.context && h.base_position == end;
    checkpoints += begins ? 1 : 0;
    logs += continues ? 1 : 0;
  }
  const auto begin = store_->CheckpointsFrom(header.parent_context, 1000);
  const auto behind = store_->LogsFrom(header.context, end, 1000);
  if (begin.size() != checkpoints) Fail("a wrong number of checkpoints begins there");
  if (behind.size() != logs) Fail("a wrong number of logs begins there");
  for (const auto& view : begin) {
    Note(view.id);
    if (view.header->kind() != ObjectKind::kCheckpoint) Fail("no checkpoint begins there");
  }
  for (const auto& view : behind) {
    Note(view.id);
    if (view.header->kind() != ObjectKind::kLog) Fail("no log begins there");
  }
}

void World::Acquire() {
  if (known_.empty()) return;
  const auto it = std::next(known_.begin(), static_cast<ptrdiff_t>(Roll(known_.size())));
  Known& known = it->second;
  const storage::SessionId session = RandomSession();
  const auto lease = store_->Acquire(session, known.id, now_);
  Note(lease.ok() ? lease->id : 0);
  if (lease.ok() != known.in_memory) return Fail("leased, or not?");
  if (!lease.ok()) {
    if (!absl::IsFailedPrecondition(lease.status())) Fail("the wrong error");
    return;
  }
  ++known.leases;
  known.last_use = now_;
  held_.push_back({.session = session,
                   .lease = lease->id,
                   .name = it->first,
                   .object = known.id,
                   .seed = known.seed,
                   .block_bytes = BlockBytes(known.header),
                   .blocks = lease->blocks,
                   .since = now_});
}

void World::ReleaseAt(size_t position) {
  const Held held = Take(&held_, position);
  if (Known* known = ById(held.object); known != nullptr) --known->leases;
}

void World::Release() {
  if (held_.empty()) return;
  const size_t position = Roll(held_.size());
  const Held& held = held_[position];
  if (!absl::IsFailedPrecondition(store_->Release(held.session + 1, held.lease)))
    Fail("another session released");
  if (!BlocksHold(*arena_, held.blocks, held.block_bytes, held.seed))
    Fail("leased bytes have changed");
  if (!store_->Release(held.session, held.lease).ok()) return Fail("could not release");
  ReleaseAt(position);
}

void World::LinkSome() {
  if (known_.empty()) return;
  const Known& known =
      std::next(known_.begin(), static_cast<ptrdiff_t>(Roll(known_.size())))->second;
  const ObjectHeader other = storage::TestSegment(models_[0], static_cast<uint32_t>(Roll(8)),
                                                  static_cast<uint32_t>(5 + Roll(3)), 4);
  const base::Key context = base::KeySpace::Context(other.parent_context, known.header.content);
  const absl::Status status = store_->Link(known.id, context, other.parent_context);
  if (status.ok() != (known.header.kind == ObjectKind::kSegment)) return Fail("linked, or not?");
  if (!status.ok()) return;
  const auto found = store_->Find({.content = known.header.content, .context = context});
  Note(found.object.id);
  if (found.object.where == Where::kMiss) return Fail("a link was not found");
  if (found.lineage != Lineage::kApproximate) Fail("a link is never exact");
  if (store_->Find({.content = known.header.content, .context = context, .lossless = true})
          .object.where != Where::kMiss) {
    Fail("a link is not lossless");
  }
}

void World::CloseSession() {
  const storage::SessionId session = RandomSession();
  store_->CloseSession(session);
  for (size_t i = writing_.size(); i-- > 0;) {
    if (writing_[i].session == session && !writing_[i].aborted) AbortAt(i);
  }
  for (size_t i = held_.size(); i-- > 0;) {
    if (held_[i].session == session) ReleaseAt(i);
  }
}

void World::Expire() {
  const absl::Duration age = absl::Milliseconds(10 * Roll(200));
  const uint64_t expired = store_->ExpireLeases(now_, age);
  uint64_t expected = 0;
  for (size_t i = held_.size(); i-- > 0;) {
    if (now_ - held_[i].since <= age) continue;
    ReleaseAt(i);
    ++expected;
  }
  if (expired != expected) Fail("a wrong number of leases expired");
}

// What has been used within the time to live stays, and so does what is in use; the rest goes.
void World::ExpireObjects() {
  uint64_t expected = 0;
  std::vector<std::pair<std::pair<absl::Time, storage::ObjectId>, Name>> order;
  for (const auto& [name, known] : known_) order.push_back({{known.last_use, known.id}, name});
  std::ranges::sort(order);
  for (const auto& [when, name] : order) {
    const auto it = known_.find(name);  // it may have gone with its base
    if (it == known_.end() || now_ - it->second.last_use <= options_.object_ttl) continue;
    if (it->second.leases > 0 || it->second.pinned || Busy(it->second.id)) {
      it->second.last_use = now_;
      continue;
    }
    ++expected;
    known_.erase(it);
    ForgetOrphans();
  }
  const uint64_t expired = store_->ExpireObjects(now_, 1000);
  Note(expired);
  if (expired != expected)
    Fail(absl::StrCat(expired, " objects expired, and it should be ", expected));
}

void World::Forget(Known& known) { known_.erase({known.header.content, known.header.context}); }

void World::EvictSome() {
  Selector selector;
  const ObjectHeader header = RandomHeader();
  switch (Roll(4)) {
    case 0:
      selector.key = header.content;
      break;
    case 1:
      selector.key = header.kind == ObjectKind::kBlob ? header.content : header.context;
      break;
    case 2:
      selector.model = header.model.IsZero() ? models_[0].Fingerprint() : header.model;
      break;
    default:
      selector.all = Roll(2) == 0;
  }
  std::map<storage::ObjectId, Name> meant;
  for (const auto& [name, known] : known_) {
    const ObjectHeader& h = known.header;
    bool is_meant = selector.all;
    if (!selector.key.IsZero()) is_meant = h.content == selector.key || h.context == selector.key;
    if (!selector.model.IsZero()) is_meant = h.model == selector.model;
    if (is_meant) meant[known.id] = name;
  }
  std::vector<Name> names;
  for (const auto& [id, name] : meant) names.push_back(name);
  const uint64_t expected = ForgetInOrder(names);
  const uint64_t gone = store_->Evict(selector);
  Note(gone);
  if (gone != expected) Fail(absl::StrCat("evicted ", gone, " instead of ", expected));
}

void World::Pin() {
  if (known_.empty()) return;
  Known& known = std::next(known_.begin(), static_cast<ptrdiff_t>(Roll(known_.size())))->second;
  const bool pin = Roll(4) == 0;
  Selector selector;
  selector.object = known.id;
  if (store_->SetPinned(selector, pin) != 1) return Fail("pinned a wrong number");
  known.pinned = pin;
  if (pin) known.doomed = false;
}

}  // namespace cistern::model_test
