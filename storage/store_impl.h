// The store's state and the steps that its calls share. Private to the store_*.cc files.
//
//   store_write.cc   Reserve, Commit, Abort          store_room.cc    making room
//   store_read.cc    Find, Acquire, Release, Link    store_evict.cc   filing, evicting, dropping
//   store_disk.cc    demotion and staging            store_state.cc   logs and what they stand on
//   store_admin.cc   models, selectors, statistics   store_expire.cc  what nobody uses any more
//   store_check.cc   invariants
//
// An object's life: Commit or AddDiskRecord attaches it; Drop detaches it, so that nobody finds it
// any more; it is destroyed when its last lease, demotion or staging ends. Every change of an
// object's state is followed by Refile, which alone decides whether it may be evicted or should be
// demoted. To drop one may drop others (a state and its logs): who holds several holds their ids.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"

#include "storage/index/content_index.h"
#include "storage/index/object.h"
#include "storage/index/object_table.h"
#include "storage/lease_table.h"
#include "storage/policy/tenant_ledger.h"
#include "storage/policy/victim_book.h"
#include "storage/policy/victim_queue.h"
#include "storage/pool/asymmetric_pools.h"
#include "storage/pool/slab_predictor.h"
#include "storage/store.h"

namespace cistern::storage {

struct KnownModel {
  base::ModelSpec spec;
  uint64_t users = 0;       // objects, detached ones too, and reservations
  uint64_t registered = 0;  // a larger number: later
};

// How an object's payload is cut into blocks.
struct Shape {
  PoolId pool = 0;
  uint32_t num_blocks = 0;
  uint64_t block_bytes = 0;
  uint32_t layers = 1;  // of state: blocks
  uint64_t payload_bytes = 0;
};

// A reservation in progress.
struct PendingWrite {
  ReservationId id = 0;
  SessionId session = 0;
  base::ObjectHeader header;
  Shape shape;
  uint32_t rule = 0;  // of its tenant
  std::vector<Handle> blocks;
  std::vector<bool> written;  // by layer
  uint32_t layers_left = 0;
  uint32_t writers = 0;  // BeginWrite without EndWrite
  bool aborted = false;  // gone for everybody but its writers
};

// What an object leaves to the one that takes its place.
struct Handover {
  std::vector<ContextLink> links;
  bool pinned = false;
};

struct Holdings {  // of a session
  absl::btree_set<ReservationId> reservations;
  LeaseList leases;

  bool empty() const { return reservations.empty() && leases.size == 0; }
};

// Where in which prompt an object stands.
struct Passage {
  base::ObjectKind kind = base::ObjectKind::kSegment;
  base::Key model;
  base::Key context;
  base::Key parent_context;
  uint32_t begin = 0;  // tokens
  uint32_t end = 0;
};
Passage PassageOf(const base::ObjectHeader& header);
Passage PassageOf(const StoredHeader& header);

struct Store::Impl {
  Impl(const StoreOptions& store_options, Arena* store_arena)
      : options(store_options),
        arena(store_arena),
        pools(store_arena),
        tenants(options.tenants, options.other_tenants),
        book(options.eviction_policy, tenants.Priorities(), objects.slots()) {}

  // ---- store_write.cc
  // InvalidArgument, or FailedPrecondition for an unknown model.
  absl::StatusOr<Shape> ShapeOf(const base::ObjectHeader& header);
  absl::StatusOr<PendingWrite*> FindPending(SessionId session, ReservationId id) const;
  void AbortPending(PendingWrite* pending);
  void ReleasePending(PendingWrite* pending);
  Object* Attach(const base::ObjectHeader& header, const Shape& shape);
  uint32_t MaxVariants(const Object& object) const;
  void LimitVariants(const Object& object, const Object* spare);
  static bool Improves(const ObjectForm& form, const ObjectForm& existing);
  Handover HandoverOf(const Object& object) const;
  Handover Replace(Object* object);  // drops it
  void TakeOver(Object* object, const Handover& handover);

  // ---- store_read.cc
  // Attached: `object` is found.
  absl::StatusOr<LeaseId> Acquire(SessionId session, Object* object, absl::Time now);
  absl::StatusOr<const HeldLease*> FindLease(SessionId session, LeaseId id) const;
  void EndLease(const HeldLease& held);
  ObjectView ViewOf(const Object& object) const;

  // ---- store_room.cc
  // Of one object.
  uint64_t MaxBlocks(uint32_t rule, PoolId pool) const;
  // All `count` blocks or none, moving and evicting what it must, within the tenant's quota.
  bool TakeBlocks(uint32_t rule, PoolId pool, uint32_t count, std::vector<Handle>* handles);
  void GiveBlocks(uint32_t rule, PoolId pool, std::span<const Handle> handles);
  void TrimTenant(uint32_t rule, PoolId pool, uint32_t count);
  bool AllocateOrEvict(PoolId pool, uint32_t count, std::vector<Handle>* handles);
  bool CanReach(PoolId pool, uint32_t count) const;
  bool MoveForBlock(PoolId pool);
  void MakeRoomAhead(absl::Time now);
  void MoveBlock(Handle from, Handle to);
  bool EvictForBlock(PoolId pool);
  bool EvictWindow(PoolId pool, const Object* own, uint32_t level);

  // ---- store_evict.cc
  void EvictFromMemory(Object* object, VictimBook::Exit exit);
  void FreeBlocks(Object* object);
  void Drop(Object* object);    // no longer found; its record on disk will be deleted
  void Detach(Object* object);  // no longer found; the record of its name stays
  void DestroyIfUnused(Object* object);
  void Refile(Object* object);
  void RefileResidence(Object* object);
  void RefileDirty(Object* object);
  // Has the book change its priority; Refile follows.
  void Reprice(Object* object, void (VictimBook::*change)(Object&));
  void CountForParents(const Object& object, int change);
  static bool Continues(const Object& object, const Object& next);
  uint32_t CountChildren(const Object& object) const;
  void Recount(Object* object);
  Rung RungOf(const Object& object) const;
  uint64_t BlockPriority(const Object& object) const;
  bool MayEvict(const Object& object) const;
  bool MayMove(const Object& object) const;
  bool ShouldDemote(const Object& object) const;

  // ---- store_disk.cc
  uint64_t BlockBytes(const Object& object) const;  // that it occupies, or would
  // Bytes in use that neither are nor will soon be free for the taking.
  uint64_t PressureBytes() const;
  bool Drains(bool draining, uint64_t pressure, uint64_t bytes) const;
  uint64_t ExcessBytes(uint64_t pressure, uint64_t bytes) const;
  void DropRecord(const RecordKey& key);  // before anything that is demoted later is written
  void MarkSaved(Object* object);
  void RetrySetAside(absl::FunctionRef<bool(const Tenancy&)> of);
  std::vector<Object*> ChooseDemotions(uint64_t max_bytes, bool only_above_watermark);

  // ---- store_state.cc
  // Whether a log that is committed, or left, without its base is judged now.
  bool JudgesLogs() const { return !options.serves_above && !records_may_come; }
  bool HasBase(const Passage& log) const;
  // FailedPrecondition: it is being written. NotFound: it is gone.
  absl::Status CheckBase(const base::ObjectHeader& header) const;
  // Whether a later state makes this one superfluous, and nothing stands on it.
  bool IsSpent(const Object& state) const;
  // After another one has come there, or gone.
  void RefileStatesAt(const base::Key& context);
  // After a state that ended there has gone.
  void DropLogsWithoutBase(const base::Key& context);
  void DropAllLogsWithoutBase();

  // ---- store_expire.cc
  bool expires() const { return options.object_ttl < absl::InfiniteDuration(); }
  void Touch(Object* object, absl::Time now);
  void ForgetUse(const Object& object);

  // ---- store_admin.cc
  const base::ModelSpec* ModelOf(const base::Key& fingerprint) const;
  void BeginUse(const base::Key& model);
  void EndUse(const base::Key& model);
  bool ForgetModel();  // the oldest that nobody uses; false when there is none
  bool Matches(const Selector& selector, const Object& object) const;
  std::vector<Object*> Select(const Selector& selector) const;

  Object* FindAny(ObjectId id) const;  // detached ones too
  Object* FindAttached(ObjectId id) const;
  template <typename Handles>
  void AppendRefs(const Handles& handles, std::vector<base::BlockRef>* refs) const {
    for (const Handle handle : handles) refs->push_back(pools.Ref(handle));
  }
  template <typename Handles>
  std::vector<base::BlockRef> Refs(const Handles& handles) const {
    std::vector<base::BlockRef> refs;
    refs.reserve(handles.size());
    AppendRefs(handles, &refs);
    return refs;
  }
  template <typename Header>
  static RecordKey KeyOf(const Header& header) {
    return {header.content, header.context};
  }

  // ---- store_check.cc
  absl::Status CheckObject(const Object& object) const;
  absl::Status CheckModels() const;
  absl::Status CheckPending() const;
  absl::Status CheckSessions() const;
  absl::Status CheckIndex() const;
  absl::Status CheckQueues() const;
  absl::Status CheckTenants() const;

  const StoreOptions options;
  Arena* const arena;
  AsymmetricPools pools;
  FormTable forms;
  ObjectTable objects;  // detached ones too
  ContentIndex index{objects.slots()};
  TenantLedger tenants;
  VictimBook book;
  absl::btree_map<base::Key, std::unique_ptr<KnownModel>> models;
  uint64_t next_registration = 1;

  absl::btree_map<ReservationId, std::unique_ptr<PendingWrite>> pending;
  absl::flat_hash_map<RecordKey, ReservationId> being_written;
  LeaseTable leases;
  // Committed, leased, staged or found on disk: ns since 1970, of attached ones. Both are empty
  // without a time to live.
  absl::flat_hash_map<ObjectId, int64_t> last_uses;
  absl::btree_set<std::pair<int64_t, ObjectId>> by_last_use;
  absl::flat_hash_map<SessionId, Holdings> sessions;

  SlabPredictor predictor{SlabPredictorOptions{}};  // fed and asked if options.predict_demand
  absl::Time latest;                                // that a call has named
  // By pool: evictions until it looks at other pools' slabs again, to evict or to move.
  std::vector<uint32_t> trade_wait;
  std::vector<uint32_t> move_wait;
  absl::btree_set<ObjectId> set_aside;  // demotion failed; tried again when nothing else is left
  std::vector<Handle> freed;            // of FreeBlocks, so that it need not be allocated
  uint64_t demoting_bytes = 0;
  bool draining = false;  // above the high watermark, not yet below the low one
  absl::flat_hash_set<RecordKey> records_in_flight;  // being written to disk
  absl::flat_hash_set<RecordKey> records_refused;    // of them, those whose old record has come
  bool records_may_come = false;
  std::vector<base::Key> left_contexts;  // of DropLogsWithoutBase
  std::vector<RecordKey> record_drops;
  absl::flat_hash_set<RecordKey> record_drop_keys;  // the same

  // One counter for objects and links: what came later has the larger number.
  uint64_t next_sequence = 1;
  ReservationId next_reservation = 1;
  LeaseId next_lease = 1;
  StoreStats stats;  // the counters; the gauges that Recount keeps
};

}  // namespace cistern::storage
