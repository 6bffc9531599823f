#include "tests/model/store_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "storage/object_shape.h"
#include "tests/unit/storage/state_fixture.h"
#include "tests/unit/storage/store_fixture.h"

namespace cistern::model_test {

using base::Lineage;
using base::ObjectHeader;
using base::ObjectKind;
using storage::BlocksHold;
using storage::FillBlocks;
using storage::Reservation;
using storage::Selector;
using storage::Staging;
using storage::StoreOptions;
using storage::Where;

namespace {

constexpr uint64_t kBlobBlock = 4096;

}  // namespace

StoreOptions World::StoreOptionsNow() const {
  StoreOptions options = {.eviction_policy = options_.eviction_policy,
                          .object_ttl = options_.object_ttl,
                          .variants_per_content = 3,
                          .links_per_object = 2,
                          .neighbours_per_gap = 3,
                          .has_disk = options_.has_disk,
                          .blob_block_bytes = kBlobBlock,
                          .predict_demand = options_.predict_demand};
  if (options_.quota_bytes != 0) {
    options.tenants = {{.tenant = 1, .quota_bytes = options_.quota_bytes},
                       {.tenant = 2, .priority = 3}};
    options.other_tenants.priority = 0;
  }
  return options;
}

World::World(const WorldOptions& options) : options_(options), random_(options.seed) {
  arena_ = storage::TestArena(options.arena_bytes, options.max_handles);
  // Pages of 2 KiB, 6 KiB (no power of two) and 36 KiB (larger than a slab of this arena).
  models_ = {storage::TestModel("small", 2, 64), storage::TestModel("middle", 3, 128),
             storage::TestModel("large", 2, 1152), storage::TestModel("hybrid", 2, 64)};
  models_[3].state = storage::TestState();
  store_ = std::make_unique<storage::Store>(StoreOptionsNow(), arena_.get());
  for (const auto& model : models_) store_->RegisterModel(model).IgnoreError();
}

void World::Fail(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", steps_, " (", last_step_, "): ", what);
}

// Few names, so that they meet: checkpoints of two prompts, logs on them, logs on these, and logs
// from the beginning, one of which ends where a checkpoint is.
ObjectHeader World::RandomState() {
  const base::ModelSpec& spec = models_[3];
  const auto prompt = static_cast<uint32_t>(Roll(2));
  const ObjectHeader chunk = storage::TestSegment(spec, 20 + prompt, 0, 40);
  const auto checkpoint = [&](uint32_t tokens) {
    const ObjectHeader before = storage::TestCheckpoint(spec, chunk, 8);
    return storage::TestCheckpoint(spec, chunk, tokens, tokens == 8 ? base::Key{} : before.context);
  };
  ObjectHeader header = checkpoint(8 + 16 * static_cast<uint32_t>(Roll(3)));
  const uint64_t dice = Roll(10);
  if (dice == 9) {
    const ObjectHeader end = header;
    header = storage::TestFirstLog(spec, 20 + prompt, end.num_tokens());
    header.context = end.context;
    header.content = base::StateKey(header.kind, header.context, header.parent_context);
  } else if (dice == 8) {
    header = storage::TestFirstLog(spec, 30 + prompt, 5);
  }
  uint64_t logs = dice < 3 || dice == 9 ? 0 : Roll(3);
  // Every other time on what is there.
  std::vector<const ObjectHeader*> there;
  for (const auto& [name, known] : known_) {
    if (base::IsState(known.header.kind) && storage::EndOf(known.header) < 60)
      there.push_back(&known.header);
  }
  if (!there.empty() && Roll(2) == 0) {
    header = *there[Roll(there.size())];
    logs = 1;
  }
  for (; logs > 0; --logs) {
    const auto text = static_cast<uint32_t>(40 + Roll(2));
    header = storage::TestLog(spec, header, text, 3 + text % 2 * 4,
                              text % 2 == 0 ? base::LogTails::kEnd : base::LogTails::kEveryToken);
  }
  header.tenant = header.tokens[0] % 3;
  return header;
}

ObjectHeader World::RandomHeader() {
  if (Roll(3) == 0) return RandomState();
  if (Roll(8) == 0) {
    const uint32_t name = static_cast<uint32_t>(Roll(6));
    ObjectHeader blob = storage::TestBlob(name, 1 + name * 7001);
    blob.tenant = name % 3;
    return blob;
  }
  const size_t model = Roll(3);
  const uint32_t text = static_cast<uint32_t>(Roll(8));
  const uint32_t tokens = model == 2 ? 5 + text * 5 : 3 + text * 17;
  const Lineage lineage = Roll(3) == 0 ? Lineage::kApproximate : Lineage::kExact;
  // Contexts 1 to 4 are beginnings of their own; 0 is that of a prompt. Some texts continue others.
  ObjectHeader header =
      storage::TestSegment(models_[model], text, static_cast<uint32_t>(Roll(5)), tokens, lineage);
  if (text >= 4) {
    header.parent_context = storage::TestSegment(models_[model], text - 4, 0,
                                                 model == 2 ? text * 5 - 15 : text * 17 - 65)
                                .context;
    header.context = base::KeySpace::Context(header.parent_context, header.content);
  }
  header.tenant = text % 3;
  return header;
}

uint64_t World::BlockBytes(const ObjectHeader& header) const {
  return storage::ShapeOf(header, store_->FindModel(header.model), kBlobBlock)->block_bytes;
}

bool World::IsBaseOf(const ObjectHeader& state, const ObjectHeader& log) {
  return base::IsState(state.kind) && state.context == log.parent_context &&
         storage::EndOf(state) == log.base_position;
}

// Whether the store may not have it: not while records may come.
bool World::IsOrphan(const ObjectHeader& header) const {
  if (header.kind != ObjectKind::kLog || header.base_position == 0 || records_may_come_)
    return false;
  return std::ranges::none_of(known_,
                              [&](const auto& k) { return IsBaseOf(k.second.header, header); });
}

void World::ForgetOrphans() {
  const auto orphan = [&](const auto& k) { return IsOrphan(k.second.header); };
  for (auto it = std::ranges::find_if(known_, orphan); it != known_.end();
       it = std::ranges::find_if(known_, orphan)) {
    known_.erase(it);
    ++logs_followed_;
  }
}

uint64_t World::ForgetInOrder(const std::vector<Name>& names) {
  uint64_t gone = 0;
  for (const Name& name : names) {
    const auto it = known_.find(name);
    if (it == known_.end() || it->second.pinned || it->second.leases > 0) continue;
    ++gone;
    if (Busy(it->second.id)) {
      it->second.doomed = true;
    } else {
      known_.erase(it);
      ForgetOrphans();
    }
  }
  return gone;
}

World::Known* World::ById(storage::ObjectId id) {
  for (auto& [name, known] : known_) {
    if (known.id == id) return &known;
  }
  return nullptr;
}

bool World::Busy(storage::ObjectId id) const {
  const auto is = [id](const InFlight& f) { return f.id == id; };
  return std::any_of(demoting_.begin(), demoting_.end(), is) ||
         std::any_of(staging_.begin(), staging_.end(), is);
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
      {"reserve", 20, &World::Reserve, false},
      {"write", 24, &World::Write, false},
      {"commit", 16, &World::Commit, false},
      {"abort", 2, &World::Abort, false},
      {"find", 8, &World::Find, false},
      {"acquire", 10, &World::Acquire, false},
      {"release", 10, &World::Release, false},
      {"link", 5, &World::LinkSome, false},
      {"close", 1, &World::CloseSession, false},
      {"expire", 1, &World::Expire, false},
      {"expire objects", 1, &World::ExpireObjects, false},
      {"evict", 2, &World::EvictSome, false},
      {"pin", 2, &World::Pin, false},
      {"demote", 10, &World::Demote, true},
      {"finish demotion", 12, &World::FinishDemotion, true},
      {"stage", 8, &World::Stage, true},
      {"finish stage", 8, &World::FinishStage, true},
      {"restart", 0, &World::Restart, true},
      {"load", 2, &World::LoadSome, true},
  };
  const auto possible = [&](const Choice& choice) {
    return (options_.has_disk || !choice.disk_only) &&
           (options_.loads_later || choice.run != &World::LoadSome);
  };
  uint64_t total = 0;
  for (const Choice& choice : kChoices) total += possible(choice) ? choice.weight : 0;
  uint64_t roll = Roll(total);
  if (options_.has_disk && Roll(options_.loads_later ? 200 : 700) == 0) {
    last_step_ = "restart";
    Restart();
  } else {
    for (const Choice& choice : kChoices) {
      if (!possible(choice)) continue;
      if (roll < choice.weight) {
        last_step_ = choice.name;
        (this->*choice.run)();
        break;
      }
      roll -= choice.weight;
    }
  }
  Sync(kNothing);
  if (steps_ % options_.steps_per_look == 0) CheckBytes();
  if (const absl::Status status = store_->CheckInvariants(); !status.ok())
    Fail(std::string(status.message()));
}

void World::Reserve() {
  const ObjectHeader header = RandomHeader();
  const storage::SessionId session = RandomSession();
  const Name name(header.content, header.context);
  const auto known = known_.find(name);
  const bool replaces = known != known_.end() &&
                        known->second.header.lineage == Lineage::kApproximate &&
                        header.lineage == Lineage::kExact;
  bool have = known != known_.end() && !replaces;
  for (const Writing& w : writing_)
    have |= !w.aborted && Name(w.header.content, w.header.context) == name;
  const uint64_t evicted_before = store_->Stats().evicted_objects;
  const auto answer = store_->Reserve(session, header, now_);
  if (!answer.ok()) return Fail(answer.status().ToString());
  Note(static_cast<uint64_t>(answer->outcome));
  const uint64_t block_bytes = BlockBytes(header);
  const auto shape = storage::ShapeOf(header, store_->FindModel(header.model), kBlobBlock);
  const uint64_t blocks = shape->num_blocks();
  if (have != (answer->outcome == Reservation::Outcome::kAlreadyHave))
    return Fail("already have, or not?");
  const uint64_t quota = header.tenant == 1 ? options_.quota_bytes : 0;
  if (answer->outcome == Reservation::Outcome::kTooLarge &&
      blocks * block_bytes <= (quota == 0 ? options_.arena_bytes : quota) &&
      blocks < arena_->num_handles()) {
    return Fail("it would fit");
  }
  if (answer->outcome == Reservation::Outcome::kNoRoom &&
      store_->Stats().evicted_objects != evicted_before) {
    return Fail("evicted for nothing");
  }
  if (answer->outcome == Reservation::Outcome::kReserved) {
    if (answer->blocks.size() != blocks) return Fail("a wrong number of blocks");
    for (const auto& ref : answer->blocks) Note(ref.offset ^ ref.handle);
    writing_.push_back({.session = session,
                        .id = answer->id,
                        .header = header,
                        .seed = next_seed_++,
                        .layers = shape->layers,
                        .written = 0,
                        .writers = 0,
                        .aborted = false,
                        .blocks = answer->blocks});
    FillBlocks(*arena_, answer->blocks, block_bytes, writing_.back().seed);
  }
  Sync(kEvicts, block_bytes);
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
    if (!store_->MarkWritten(w.session, w.id, w.written, end).ok())
      return Fail("could not mark layers");
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
  const bool orphan = ready && IsOrphan(w.header);
  const bool early = std::ranges::any_of(writing_, [&](const Writing& other) {
    return !other.aborted && IsBaseOf(other.header, w.header);
  });
  const auto id = store_->Commit(w.session, w.id, now_);
  Note(id.ok() ? *id : static_cast<uint64_t>(id.status().code()));
  if (id.ok() != (ready && !orphan)) return Fail("committed, or not?");
  if (orphan && !early) {  // the reservation goes with it
    if (!absl::IsNotFound(id.status())) Fail("the wrong error");
    Take(&writing_, position);
    ++logs_refused_;
    return;
  }
  if (!ready || orphan) {
    if (!absl::IsFailedPrecondition(id.status())) Fail("the wrong error");
    return;
  }
  const Writing done = Take(&writing_, position);
  const Name name(done.header.content, done.header.context);
  const auto replaced = known_.find(name);
  const bool pinned = replaced != known_.end() && replaced->second.pinned;
  bool saved = false;
  if (replaced != known_.end() && replaced->second.on_disk) {  // it has been loaded meanwhile
    const ObjectHeader& loaded = replaced->second.header;
    const bool state = base::IsState(loaded.kind);  // one is as good as the other
    if (state ||
        (loaded.lineage == Lineage::kExact && done.header.lineage == Lineage::kApproximate)) {
      if (*id != replaced->second.id) Fail("rough rows took the place of exact ones");
      return;
    }
    saved = loaded == done.header;
    if (saved) disk_[name] = done.seed;  // the same name is of the same bytes
  }
  known_[name] = Known{.id = *id,
                       .header = done.header,
                       .seed = done.seed,
                       .last_use = now_,
                       .in_memory = true,
                       .on_disk = saved,
                       .pinned = pinned};
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

}  // namespace cistern::model_test
