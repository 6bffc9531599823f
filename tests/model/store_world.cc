#include "tests/model/store_world.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

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
             storage::TestModel("large", 2, 1152)};
  store_ = std::make_unique<storage::Store>(StoreOptionsNow(), arena_.get());
  for (const auto& model : models_) store_->RegisterModel(model).IgnoreError();
}

void World::Fail(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", steps_, " (", last_step_, "): ", what);
}

ObjectHeader World::RandomHeader() {
  if (Roll(8) == 0) {
    const uint32_t name = static_cast<uint32_t>(Roll(6));
    ObjectHeader blob = storage::TestBlob(name, 1 + name * 7001);
    blob.tenant = name % 3;
    return blob;
  }
  const size_t model = Roll(models_.size());
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
  return header.kind == ObjectKind::kBlob ? kBlobBlock
                                          : store_->FindModel(header.model)->page_bytes();
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
  const uint64_t payload =
      header.kind == ObjectKind::kBlob ? header.blob_bytes : header.num_tokens();
  const uint64_t unit = header.kind == ObjectKind::kBlob ? kBlobBlock : 16;
  const uint64_t blocks = (payload + unit - 1) / unit;
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
                        .layers = header.kind == ObjectKind::kBlob
                                      ? 1
                                      : store_->FindModel(header.model)->num_layers,
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
  bool saved = false;
  if (replaced != known_.end() && replaced->second.on_disk) {  // it has been loaded meanwhile
    const ObjectHeader& loaded = replaced->second.header;
    if (loaded.lineage == Lineage::kExact && done.header.lineage == Lineage::kApproximate) {
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
