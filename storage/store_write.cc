// Reserve, write, commit.
#include <algorithm>
#include <span>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "storage/object_shape.h"
#include "storage/store_impl.h"

namespace cistern::storage {
namespace {

// Of one content, where each serves one context only. A bound because removing one walks over them.
constexpr uint32_t kMaxExactVariants = 1024;

}  // namespace

absl::StatusOr<Shape> Store::Impl::ShapeOf(const base::ObjectHeader& header) {
  CISTERN_RETURN_IF_ERROR(header.Validate());
  const bool blob = header.kind == base::ObjectKind::kBlob;
  if (blob && options.blob_block_bytes == 0)
    return absl::InvalidArgumentError("this store takes no blobs");
  const base::ModelSpec* spec = ModelOf(header.model);
  if (!blob && spec == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "model ", header.model.ToHex(), " is not registered; register it, then try again"));
  }
  CISTERN_ASSIGN_OR_RETURN(const ObjectShape object,
                           storage::ShapeOf(header, spec, options.blob_block_bytes));
  Shape shape{.num_blocks = object.num_blocks(),
              .block_bytes = object.block_bytes,
              .layers = object.layers,
              .payload_bytes = object.payload_bytes};
  CISTERN_ASSIGN_OR_RETURN(shape.pool, pools.PoolFor(object.block_bytes));
  trade_wait.resize(pools.num_pools());
  move_wait.resize(pools.num_pools());
  return shape;
}

absl::StatusOr<Reservation> Store::Reserve(SessionId session, const base::ObjectHeader& header,
                                           absl::Time now) {
  Impl& s = *impl_;
  s.latest = std::max(s.latest, now);
  CISTERN_ASSIGN_OR_RETURN(const Shape shape, s.ShapeOf(header));
  Reservation reservation;
  const RecordKey key = Impl::KeyOf(header);
  const Object* existing = s.index.Exact(header.content, header.context);
  if ((existing != nullptr && !Impl::Improves(FormOf(header), *existing->header.form())) ||
      s.being_written.contains(key)) {
    ++s.stats.already_have;
    reservation.outcome = Reservation::Outcome::kAlreadyHave;
    return reservation;
  }
  const uint32_t rule = s.tenants.RuleOf(header.tenant);
  if (shape.num_blocks > s.MaxBlocks(rule, shape.pool)) {
    reservation.outcome = Reservation::Outcome::kTooLarge;
    return reservation;
  }
  auto pending = std::make_unique<PendingWrite>();
  pending->rule = rule;
  if (!s.TakeBlocks(pending->rule, shape.pool, shape.num_blocks, &pending->blocks)) {
    ++s.stats.no_room;
    reservation.outcome = Reservation::Outcome::kNoRoom;
    return reservation;
  }
  pending->id = s.next_reservation++;
  pending->session = session;
  pending->header = header;
  pending->shape = shape;
  pending->written.resize(shape.layers);
  pending->layers_left = shape.layers;
  reservation.outcome = Reservation::Outcome::kReserved;
  reservation.id = pending->id;
  reservation.blocks = s.Refs(pending->blocks);
  s.BeginUse(header.model);
  s.being_written[key] = pending->id;
  s.sessions[session].reservations.insert(pending->id);
  s.pending[pending->id] = std::move(pending);
  s.MakeRoomAhead(s.latest);
  return reservation;
}

absl::StatusOr<PendingWrite*> Store::Impl::FindPending(SessionId session, ReservationId id) const {
  const auto it = pending.find(id);
  if (it == pending.end() || it->second->session != session || it->second->aborted) {
    return absl::FailedPreconditionError(
        absl::StrCat("reservation ", id, " is not held by this session"));
  }
  return it->second.get();
}

absl::StatusOr<std::vector<base::BlockRef>> Store::ReservedBlocks(SessionId session,
                                                                  ReservationId id) const {
  CISTERN_ASSIGN_OR_RETURN(const PendingWrite* pending, impl_->FindPending(session, id));
  return impl_->Refs(pending->blocks);
}

absl::StatusOr<const base::ObjectHeader*> Store::ReservedHeader(SessionId session,
                                                                ReservationId id) const {
  CISTERN_ASSIGN_OR_RETURN(const PendingWrite* pending, impl_->FindPending(session, id));
  return &pending->header;
}

absl::StatusOr<std::vector<base::BlockRef>> Store::BeginWrite(SessionId session, ReservationId id) {
  CISTERN_ASSIGN_OR_RETURN(PendingWrite * pending, impl_->FindPending(session, id));
  ++pending->writers;
  return impl_->Refs(pending->blocks);
}

void Store::EndWrite(ReservationId id) {
  const auto it = impl_->pending.find(id);
  if (it == impl_->pending.end() || it->second->writers == 0) return;
  PendingWrite* pending = it->second.get();
  if (--pending->writers == 0 && pending->aborted) impl_->ReleasePending(pending);
}

absl::Status Store::MarkWritten(SessionId session, ReservationId id, uint32_t layer_begin,
                                uint32_t layer_end) {
  CISTERN_ASSIGN_OR_RETURN(PendingWrite * pending, impl_->FindPending(session, id));
  if (layer_begin >= layer_end || layer_end > pending->written.size()) {
    return absl::InvalidArgumentError(absl::StrCat("layers [", layer_begin, ", ", layer_end,
                                                   ") of a reservation of ",
                                                   pending->written.size()));
  }
  for (uint32_t layer = layer_begin; layer < layer_end; ++layer) {
    if (!pending->written[layer]) --pending->layers_left;
    pending->written[layer] = true;
  }
  return absl::OkStatus();
}

bool Store::MayCommit(SessionId session, ReservationId id) const {
  const absl::StatusOr<PendingWrite*> pending = impl_->FindPending(session, id);
  return pending.ok() && (*pending)->layers_left == 0 && (*pending)->writers == 0;
}

absl::StatusOr<ObjectId> Store::Commit(SessionId session, ReservationId id, absl::Time now) {
  Impl& s = *impl_;
  CISTERN_ASSIGN_OR_RETURN(PendingWrite * pending, s.FindPending(session, id));
  if (pending->layers_left > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("reservation ", id, ": ", pending->layers_left, " of ",
                     pending->written.size(), " layers were never written"));
  }
  if (pending->writers > 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("reservation ", id, ": a write is still in progress"));
  }
  if (absl::Status base = s.CheckBase(pending->header); !base.ok()) {
    if (absl::IsNotFound(base)) s.AbortPending(pending);
    return base;
  }
  const RecordKey key = Impl::KeyOf(pending->header);
  Handover handover;
  bool saved = false;
  // A record that has been loaded from disk meanwhile may be no worse.
  if (Object* replaced = s.index.Exact(key.content, key.context); replaced != nullptr) {
    const bool no_better = base::IsState(pending->header.kind) ||
                           Impl::Improves(*replaced->header.form(), FormOf(pending->header));
    if (!s.options.serves_above && no_better) {
      const ObjectId id = replaced->id;
      s.being_written.erase(key);
      s.ReleasePending(pending);
      ++s.stats.already_have;
      return id;
    }
    saved = replaced->on_disk && replaced->header == pending->header;
    if (saved) {  // the record is the new object's, and stays
      handover = s.HandoverOf(*replaced);
      s.Detach(replaced);
    } else {
      handover = s.Replace(replaced);
    }
  }
  Object* object = s.Attach(pending->header, pending->shape);
  object->blocks.Assign(pending->blocks);
  object->in_memory = true;
  object->on_disk = saved;
  for (const Handle handle : object->blocks) s.pools.SetOwner(handle, object->slot);
  s.TakeOver(object, handover);
  s.Touch(object, now);
  s.Refile(object);
  pending->blocks.clear();
  s.being_written.erase(key);
  s.ReleasePending(pending);
  ++s.stats.commits;
  s.LimitVariants(*object, /*spare=*/object);
  return ObjectId{object->id};
}

// An exact object takes the place of an approximate one.
bool Store::Impl::Improves(const ObjectForm& form, const ObjectForm& existing) {
  return form.kind == existing.kind && form.lineage == base::Lineage::kExact &&
         existing.lineage == base::Lineage::kApproximate;
}

Handover Store::Impl::HandoverOf(const Object& object) const {
  const std::span<const ContextLink> links = index.LinksOf(object);
  return {.links = {links.begin(), links.end()}, .pinned = object.pinned};
}

Handover Store::Impl::Replace(Object* object) {
  Handover handover = HandoverOf(*object);
  Drop(object);
  return handover;
}

void Store::Impl::TakeOver(Object* object, const Handover& handover) {
  object->pinned = handover.pinned;
  for (const ContextLink& link : handover.links) index.AddLink(object, link);
}

Object* Store::Impl::Attach(const base::ObjectHeader& header, const Shape& shape) {
  ObjectForm form = FormOf(header);
  form.pool = shape.pool;
  form.rule = tenants.RuleOf(header.tenant);
  form.block_bytes = shape.block_bytes;
  form.spec = ModelOf(header.model);
  Object* object = objects.Add(next_sequence++);
  object->header = StoredHeader(header, forms.Take(form));
  object->children = CountChildren(*object);
  BeginUse(header.model);
  index.Insert(object);
  if (base::IsState(header.kind)) {
    RefileStatesAt(header.context);
    RefileStatesAt(header.previous_state);
  }
  return object;
}

// Leased, pinned and busy variants stay, even if that leaves more than the limit, and so does
// `spare`. May drop the object itself when that is not spared. State has no variants.
// A state needs the rows of its own past: each variant is the only one for its prompts.
uint32_t Store::Impl::MaxVariants(const Object& object) const {
  const base::ModelSpec* spec = object.header.form()->spec;
  const bool shared = spec == nullptr || !spec->state.present();
  return shared ? options.variants_per_content
                : std::max(options.variants_per_content, kMaxExactVariants);
}

void Store::Impl::LimitVariants(const Object& object, const Object* spare) {
  if (base::IsState(object.header.kind())) return;
  const uint32_t most = MaxVariants(object);
  const ContentIndex::Variants variants = index.VariantsOf(object.header.content);
  std::vector<Object*> candidates(variants.begin(), variants.end());
  size_t count = candidates.size();
  while (count > most) {
    Object* lowest = nullptr;
    for (Object* variant : candidates) {
      if (variant == nullptr || variant == spare || variant->pinned || variant->in_use()) continue;
      if (lowest == nullptr || variant->priority < lowest->priority) lowest = variant;
    }
    if (lowest == nullptr) return;
    std::replace(candidates.begin(), candidates.end(), lowest, static_cast<Object*>(nullptr));
    Drop(lowest);
    --count;
  }
}

absl::Status Store::Abort(SessionId session, ReservationId id) {
  CISTERN_ASSIGN_OR_RETURN(PendingWrite * pending, impl_->FindPending(session, id));
  impl_->AbortPending(pending);
  return absl::OkStatus();
}

// Out of everybody's sight at once; the blocks go when the last writer ends.
void Store::Impl::AbortPending(PendingWrite* aborted) {
  ++stats.aborts;
  being_written.erase(KeyOf(aborted->header));
  aborted->aborted = true;
  if (const auto it = sessions.find(aborted->session); it != sessions.end()) {
    it->second.reservations.erase(aborted->id);
    if (it->second.empty()) sessions.erase(it);
  }
  if (aborted->writers == 0) ReleasePending(aborted);
}

void Store::Impl::ReleasePending(PendingWrite* released) {
  GiveBlocks(released->rule, released->shape.pool, released->blocks);
  if (const auto it = sessions.find(released->session); it != sessions.end()) {
    it->second.reservations.erase(released->id);
    if (it->second.empty()) sessions.erase(it);
  }
  EndUse(released->header.model);
  pending.erase(released->id);
}

}  // namespace cistern::storage
