#include "tests/model/store_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::model_test {

using base::Lineage;
using base::ObjectHeader;
using base::ObjectKind;
using storage::FillBlocks;
using storage::BlocksHold;
using storage::Reservation;
using storage::Selector;
using storage::Staging;
using storage::StoreOptions;
using storage::Where;

namespace {

constexpr uint64_t kBlobBlock = 4096;

StoreOptions OptionsFor(const WorldOptions& options) {
  return {.variants_per_content = 3, .links_per_object = 2, .neighbours_per_gap = 3, .has_disk = options.has_disk,
          .blob_block_bytes = kBlobBlock};
}

template <typename T>
T Take(std::vector<T>* from, size_t position) {
  T taken = std::move((*from)[position]);
  from->erase(from->begin() + static_cast<ptrdiff_t>(position));
  return taken;
}

}  // namespace

World::World(const WorldOptions& options) : options_(options), random_(options.seed) {
  arena_ = storage::TestArena(options.arena_bytes, options.max_handles);
  // Pages of 2 KiB, 6 KiB (no power of two) and 36 KiB (larger than a slab of this arena).
  models_ = {storage::TestModel("small", 2, 64), storage::TestModel("middle", 3, 128),
             storage::TestModel("large", 2, 1152)};
  store_ = std::make_unique<storage::Store>(OptionsFor(options), arena_.get());
  for (const auto& model : models_) store_->RegisterModel(model).IgnoreError();
}

void World::Fail(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", steps_, " (", last_step_, "): ", what);
}

ObjectHeader World::RandomHeader() {
  if (Roll(8) == 0) {
    const uint32_t name = static_cast<uint32_t>(Roll(6));
    return storage::TestBlob(name, 1 + name * 7001);
  }
  const size_t model = Roll(models_.size());
  const uint32_t text = static_cast<uint32_t>(Roll(8));
  const uint32_t tokens = model == 2 ? 5 + text * 5 : 3 + text * 17;
  const Lineage lineage = Roll(3) == 0 ? Lineage::kApproximate : Lineage::kExact;
  return storage::TestSegment(models_[model], text, static_cast<uint32_t>(Roll(5)), tokens, lineage);
}

uint64_t World::BlockBytes(const ObjectHeader& header) const {
  return header.kind == ObjectKind::kBlob ? kBlobBlock : store_->FindModel(header.model)->page_bytes();
}

World::Known* World::ById(storage::ObjectId id) {
  for (auto& [name, known] : known_) {
    if (known.id == id) return &known;
  }
  return nullptr;
}

bool World::Busy(storage::ObjectId id) const {
  const auto is = [id](const InFlight& f) { return f.id == id; };
  return std::any_of(demoting_.begin(), demoting_.end(), is) || std::any_of(staging_.begin(), staging_.end(), is);
}

void World::Step() {
  ++steps_;
  now_ += absl::Milliseconds(10);
  struct Choice {
    const char* name;
    uint64_t weight;
    void (World::*run)();
    bool disk_only;
  };
  static constexpr Choice kChoices[] = {
      {"reserve", 20, &World::Reserve, false},       {"write", 24, &World::Write, false},
      {"commit", 16, &World::Commit, false},         {"abort", 2, &World::Abort, false},
      {"find", 8, &World::Find, false},              {"acquire", 10, &World::Acquire, false},
      {"release", 10, &World::Release, false},       {"link", 5, &World::LinkSome, false},
      {"close", 1, &World::CloseSession, false},     {"expire", 1, &World::Expire, false},
      {"evict", 2, &World::EvictSome, false},        {"pin", 2, &World::Pin, false},
      {"demote", 10, &World::Demote, true},          {"finish demotion", 12, &World::FinishDemotion, true},
      {"stage", 8, &World::Stage, true},             {"finish stage", 8, &World::FinishStage, true},
      {"restart", 0, &World::Restart, true},
  };
  uint64_t total = 0;
  for (const Choice& choice : kChoices) total += choice.disk_only && !options_.has_disk ? 0 : choice.weight;
  uint64_t roll = Roll(total);
  if (options_.has_disk && Roll(700) == 0) {
    last_step_ = "restart";
    Restart();
  } else {
    for (const Choice& choice : kChoices) {
      if (choice.disk_only && !options_.has_disk) continue;
      if (roll < choice.weight) {
        last_step_ = choice.name;
        (this->*choice.run)();
        break;
      }
      roll -= choice.weight;
    }
  }
  Sync(kNothing);
  if (steps_ % 8 == 0) CheckBytes();
  if (const absl::Status status = store_->CheckInvariants(); !status.ok()) Fail(std::string(status.message()));
}

void World::Reserve() {
  const ObjectHeader header = RandomHeader();
  const storage::SessionId session = RandomSession();
  const Name name(header.content, header.context);
  const auto known = known_.find(name);
  const bool replaces = known != known_.end() && known->second.header.lineage == Lineage::kApproximate &&
                        header.lineage == Lineage::kExact;
  bool have = known != known_.end() && !replaces;
  for (const Writing& w : writing_) have |= !w.aborted && Name(w.header.content, w.header.context) == name;
  const uint64_t evicted_before = store_->Stats().evicted_objects;
  const auto answer = store_->Reserve(session, header, now_);
  if (!answer.ok()) return Fail(answer.status().ToString());
  Note(static_cast<uint64_t>(answer->outcome));
  const uint64_t block_bytes = BlockBytes(header);
  const uint64_t payload = header.kind == ObjectKind::kBlob ? header.blob_bytes : header.num_tokens();
  const uint64_t unit = header.kind == ObjectKind::kBlob ? kBlobBlock : 16;
  const uint64_t blocks = (payload + unit - 1) / unit;
  if (have != (answer->outcome == Reservation::Outcome::kAlreadyHave)) return Fail("already have, or not?");
  if (answer->outcome == Reservation::Outcome::kTooLarge && blocks * block_bytes <= options_.arena_bytes &&
      blocks < arena_->num_handles()) {
    return Fail("it would fit");
  }
  if (answer->outcome == Reservation::Outcome::kNoRoom && store_->Stats().evicted_objects != evicted_before) {
    return Fail("evicted for nothing");
  }
  if (answer->outcome == Reservation::Outcome::kReserved) {
    if (answer->blocks.size() != blocks) return Fail("a wrong number of blocks");
    for (const auto& ref : answer->blocks) Note(ref.offset ^ ref.handle);
    writing_.push_back({.session = session, .id = answer->id, .header = header, .seed = next_seed_++,
                        .layers = header.kind == ObjectKind::kBlob ? 1 : store_->FindModel(header.model)->num_layers,
                        .written = 0, .writers = 0, .aborted = false, .blocks = answer->blocks});
    FillBlocks(*arena_, answer->blocks, block_bytes, writing_.back().seed);
  }
  Sync(kEvicts);
}

void World::Write() {
  if (writing_.empty()) return;
  const size_t position = Roll(writing_.size());
  Writing& w = writing_[position];
  if (w.writers > 0 && Roll(2) == 0) {
    store_->EndWrite(w.id);
    if (--w.writers == 0 && w.aborted) Take(&writing_, position);
    return;
  }
  if (w.aborted) {
    if (store_->BeginWrite(w.session, w.id).ok()) Fail("wrote into an aborted reservation");
    return;
  }
  if (store_->BeginWrite(w.session + 1, w.id).ok()) return Fail("another session wrote");
  const auto blocks = store_->BeginWrite(w.session, w.id);
  if (!blocks.ok() || *blocks != w.blocks) return Fail("the reservation's blocks have moved");
  ++w.writers;
  if (w.written < w.layers) {
    const uint32_t end = w.written + 1 + static_cast<uint32_t>(Roll(w.layers - w.written));
    if (!store_->MarkWritten(w.session, w.id, w.written, end).ok()) return Fail("could not mark layers");
    w.written = end;
  }
  if (Roll(4) != 0) {
    store_->EndWrite(w.id);
    --w.writers;
  }
}

void World::Commit() {
  if (writing_.empty()) return;
  const size_t position = Roll(writing_.size());
  const Writing& w = writing_[position];
  const bool ready = w.written == w.layers && w.writers == 0 && !w.aborted;
  const auto id = store_->Commit(w.session, w.id, now_);
  Note(id.ok() ? *id : static_cast<uint64_t>(id.status().code()));
  if (id.ok() != ready) return Fail("committed, or not?");
  if (!ready) {
    if (!absl::IsFailedPrecondition(id.status())) Fail("the wrong error");
    return;
  }
  const Writing done = Take(&writing_, position);
  const Name name(done.header.content, done.header.context);
  const auto replaced = known_.find(name);
  const bool pinned = replaced != known_.end() && replaced->second.pinned;
  known_[name] = Known{.id = *id, .header = done.header, .seed = done.seed, .in_memory = true, .pinned = pinned};
  Sync(kLimitsVariants);
}

void World::AbortAt(size_t position) {
  Writing& w = writing_[position];
  w.aborted = true;
  if (w.writers == 0) Take(&writing_, position);
}

void World::Abort() {
  if (writing_.empty()) return;
  const size_t position = Roll(writing_.size());
  const Writing& w = writing_[position];
  if (store_->Abort(w.session, w.id).ok() == w.aborted) return Fail("aborted, or not?");
  if (!w.aborted) AbortAt(position);
}

void World::Find() {
  const ObjectHeader header = RandomHeader();
  const bool content = Roll(2) == 0;
  const bool lossless = Roll(2) == 0;
  const auto found = store_->Find(
      {.content = header.content, .context = header.context, .accept_content = content, .lossless = lossless});
  Note(found.object.id);
  const auto known = known_.find({header.content, header.context});
  const bool exact = known != known_.end() && (!lossless || known->second.header.lineage == Lineage::kExact);
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
  if (!content && found.match == storage::Match::kContent) return Fail("found a variant that nobody asked for");
  if (ById(found.object.id) == nullptr) return Fail("found an object that is gone");
  const auto children = store_->Children(header.parent_context, lossless);
  if (children.size() > 3) return Fail("too many children");
  for (const auto& child : children) Note(child.object.id);
  const auto at = store_->ByContext(header.context, lossless);
  Note(at.object.id);
  const bool segment = header.kind == ObjectKind::kSegment;  // a blob has no context
  if (exact && segment && at.object.id != known->second.id) Fail("a real object must win over a link");
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
  held_.push_back({.session = session, .lease = lease->id, .name = it->first, .object = known.id, .seed = known.seed,
                   .block_bytes = BlockBytes(known.header), .blocks = lease->blocks, .since = now_});
}

void World::ReleaseAt(size_t position) {
  const Held held = Take(&held_, position);
  if (Known* known = ById(held.object); known != nullptr) --known->leases;
}

void World::Release() {
  if (held_.empty()) return;
  const size_t position = Roll(held_.size());
  const Held& held = held_[position];
  if (!absl::IsFailedPrecondition(store_->Release(held.session + 1, held.lease))) Fail("another session released");
  if (!BlocksHold(*arena_, held.blocks, held.block_bytes, held.seed)) Fail("leased bytes have changed");
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
  if (store_->Find({.content = known.header.content, .context = context, .lossless = true}).object.where !=
      Where::kMiss) {
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

void World::Forget(Known& known) { known_.erase({known.header.content, known.header.context}); }

void World::EvictSome() {
  Selector selector;
  const ObjectHeader header = RandomHeader();
  switch (Roll(4)) {
    case 0: selector.key = header.content; break;
    case 1: selector.key = header.kind == ObjectKind::kBlob ? header.content : header.context; break;
    case 2: selector.model = header.model.IsZero() ? models_[0].Fingerprint() : header.model; break;
    default: selector.all = Roll(2) == 0;
  }
  uint64_t expected = 0;
  for (auto it = known_.begin(); it != known_.end();) {
    Known& known = it->second;
    ++it;
    const ObjectHeader& h = known.header;
    bool meant = selector.all;
    if (!selector.key.IsZero()) meant = h.content == selector.key || h.context == selector.key;
    if (!selector.model.IsZero()) meant = h.model == selector.model;
    if (!meant || known.pinned || known.leases > 0) continue;
    ++expected;
    if (Busy(known.id)) {
      known.doomed = true;
    } else {
      Forget(known);
    }
  }
  const uint64_t gone = store_->Evict(selector);
  Note(gone);
  if (gone != expected) Fail(absl::StrCat("evicted ", gone, " instead of ", expected));
}

void World::Pin() {
  if (known_.empty()) return;
  Known& known = std::next(known_.begin(), static_cast<ptrdiff_t>(Roll(known_.size())))->second;
  const bool pin = Roll(4) == 0;
  Selector selector;
  selector.key = known.header.kind == ObjectKind::kBlob ? known.header.content : known.header.context;
  if (store_->SetPinned(selector, pin) != 1) return Fail("pinned a wrong number");
  known.pinned = pin;
}

}  // namespace cistern::model_test
