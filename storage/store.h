// The heart of a node: which objects there are, where their blocks lie, and which go when room is
// needed.
//
//   Reserve ─► blocks to write ─► Commit | Abort      invisible until committed
//   Find ─► what there is
//   Acquire ─► blocks to read ─► Release                they neither move nor vanish until then
//   TakeDemotions ─► (written below) ─► FinishDemotion
//   BeginStage ─► blocks to read into ─► FinishStage
//
// Deterministic: no I/O, no clock, no randomness, no allocation proportional to payloads. The same
// calls in the same order give the same answers, handles and victims. Time is a parameter.
//
// Thread   one at a time; the node keeps it behind one mutex
// Errors   InvalidArgument: this call is wrong. NotFound: no such id now. FailedPrecondition: a
// stale id or a protocol
//          step out of order. ResourceExhausted: no room, after eviction did what it could
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/arena_layout.h"
#include "base/key.h"
#include "base/model_spec.h"
#include "base/object.h"
#include "storage/stored_header.h"

namespace cistern::storage {

class Arena;

using ObjectId = uint64_t;
using LeaseId = uint64_t;
using ReservationId = uint64_t;
using SessionId = uint64_t;

enum class Where : uint8_t { kMiss = 0, kMemory = 1, kDisk = 2 };
enum class Match : uint8_t { kExact = 0, kContent = 1 };

// What a tenant may take of memory, and who yields to whom.
struct TenantRule {
  static constexpr uint32_t kMaxPriority = 7;
  uint64_t tenant = 0;
  uint64_t quota_bytes = 0;  // of blocks, reserved ones too; 0: no bound
  uint32_t priority = 1;     // where room is needed, objects of a lower priority go first
};

struct StoreOptions {
  std::string eviction_policy = "value";  // of EvictionPolicyNames()
  // An object that nobody has leased, written or pinned for so long is dropped by ExpireObjects.
  absl::Duration object_ttl = absl::InfiniteDuration();
  std::vector<TenantRule> tenants;  // each tenant once
  TenantRule other_tenants;         // all that are not named, together
  // Objects that share a content key; the cheapest goes first. Of models with recurrent state many
  // more: their rows are never reused by content, so each serves prompts that no other does.
  uint32_t variants_per_content = 4;
  uint32_t links_per_object =
      16;  // other contexts that an object serves approximately; the oldest goes first
  uint32_t neighbours_per_gap = 4;  // candidates described beside a chunk that was not found
  bool has_disk = false;            // eviction demotes before it drops
  // A store above knows the headers of what it has written here: a record that is found on disk
  // takes no object's place.
  bool serves_above = false;
  uint64_t blob_block_bytes = 64 << 10;  // block size of the opaque pool; 0: no blobs
  double high_watermark = 0.90;          // of arena bytes: demotion starts above it ...
  double low_watermark = 0.80;           // ... and aims below it
  // Moves slabs to a pool before it runs out of blocks, when its demand says that it will.
  bool predict_demand = false;
  uint32_t max_models = 256;
  uint32_t max_leases = 1 << 20;  // of all sessions
};

// One described object. Pointers are valid until the next non-const call.
struct ObjectView {
  ObjectId id = 0;
  const StoredHeader* header = nullptr;
  Where where = Where::kMiss;
  bool on_disk = false;  // has a record, wherever else it is
  uint64_t rank = 0;     // as of its last use in memory; of two, the lower one should go first
  uint32_t slot = 0;     // the store's: where it finds the object again
};

struct FindQuery {
  base::Key content;
  base::Key context;
  bool accept_content = false;  // an object in another context will do
  bool lossless = false;        // take no approximate lineage
};
struct Found {
  ObjectView object;  // where == kMiss: nothing
  Match match = Match::kExact;
  base::Lineage lineage = base::Lineage::kExact;  // of this hit: approximate when it came by a link
};

struct Reservation {
  enum class Outcome : uint8_t { kReserved, kAlreadyHave, kNoRoom, kTooLarge };
  Outcome outcome = Outcome::kNoRoom;
  ReservationId id = 0;
  std::vector<base::BlockRef> blocks;  // in order
};

struct Lease {
  LeaseId id = 0;
  std::vector<base::BlockRef> blocks;
};

// A dirty object that should go to disk: read its leased blocks, write the record, then
// FinishDemotion.
struct Demotion {
  ObjectId id = 0;
  base::ObjectHeader header;
  uint64_t payload_bytes = 0;
  std::vector<base::BlockRef> blocks;
};

// An object on disk whose blocks have been reserved: read the record into them, then FinishStage.
struct Staging {
  enum class Outcome : uint8_t { kBegun, kInMemory, kInProgress, kNoRoom, kGone };
  Outcome outcome = Outcome::kGone;
  base::ObjectHeader header;
  std::vector<base::BlockRef> blocks;
};

// One disk record's identity: an object is its content in its context.
struct RecordKey {
  base::Key content;
  base::Key context;
  friend bool operator==(const RecordKey&, const RecordKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const RecordKey& key) {
    return H::combine(std::move(h), key.content, key.context);
  }
};

// Which objects an administrator means; unset fields do not restrict.
struct Selector {
  ObjectId object = 0;  // this one
  base::Key key;        // content or context
  base::Key model;
  uint64_t tenant = 0;
  bool has_tenant = false;
  bool all = false;
};

struct PoolStats {
  uint64_t block_bytes = 0;
  uint64_t slabs = 0;
  uint64_t blocks_used = 0;
  uint64_t blocks_free = 0;
};

struct TenantStats {
  TenantRule rule;
  uint64_t used_bytes = 0;  // blocks in use, reserved ones too
  uint64_t objects_memory = 0;
  uint64_t evicted_objects = 0;
  uint64_t over_quota = 0;  // tries to reserve or stage that were refused for the quota alone
};

struct StoreStats {
  uint64_t arena_bytes = 0;
  uint64_t used_bytes = 0;       // blocks in use
  uint64_t free_bytes = 0;       // blocks not in use, and what no slab has taken
  uint64_t remainder_bytes = 0;  // of slabs, that no block fits: used + free + remainder = arena
  uint64_t objects_memory = 0;   // committed, with blocks in memory (some also on disk)
  uint64_t objects_disk = 0;     // with a record on disk (some also in memory)
  uint64_t dirty_bytes = 0;      // committed, not on disk
  uint64_t leases = 0;
  uint64_t reservations = 0;
  uint64_t finds = 0, exact_hits = 0, content_hits = 0, misses = 0;
  uint64_t commits = 0, aborts = 0, already_have = 0;
  uint64_t moved_blocks = 0, moved_bytes = 0;  // within memory, to make room for other sizes
  uint64_t moved_ahead_bytes = 0;              // of those, before anybody waited (predict_demand)
  uint64_t evicted_objects = 0, evicted_bytes = 0;  // dropped from memory (on disk or not)
  uint64_t dropped_objects = 0;                     // gone altogether
  uint64_t demoted_objects = 0, demoted_bytes = 0, demotion_failures = 0;
  uint64_t staged_objects = 0, staged_bytes = 0, corrupt_records = 0;
  uint64_t links = 0;
  uint64_t no_room = 0;
  uint64_t pinned_objects = 0, pinned_bytes = 0;  // by an administrator; bytes of those in memory
  uint64_t expired_objects = 0;                   // dropped by ExpireObjects
  bool draining = false;  // above the high watermark, and not yet below the low one again
  std::vector<PoolStats> pools;
  std::vector<TenantStats> tenants;  // as in StoreOptions, then all others
};

class Store {
 public:
  // `arena` outlives the store.
  Store(const StoreOptions& options, Arena* arena);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // ---- Models. A segment of an unknown model is FailedPrecondition. When there are max_models,
  // the one that was registered longest ago among those without objects and reservations is
  // forgotten; ResourceExhausted when all have some.
  absl::Status RegisterModel(const base::ModelSpec& spec);
  const base::ModelSpec* FindModel(const base::Key& fingerprint) const;
  std::vector<const base::ModelSpec*> Models() const;

  // ---- Writing
  absl::StatusOr<Reservation> Reserve(SessionId session, const base::ObjectHeader& header,
                                      absl::Time now);
  // The blocks of a reservation of this session, and its header.
  absl::StatusOr<std::vector<base::BlockRef>> ReservedBlocks(SessionId session,
                                                             ReservationId id) const;
  absl::StatusOr<const base::ObjectHeader*> ReservedHeader(SessionId session,
                                                           ReservationId id) const;
  // Bytes that arrive by themselves (a payload on its way) hold the blocks: from BeginWrite until
  // EndWrite an Abort or a CloseSession frees nothing, and Commit answers FailedPrecondition. Every
  // BeginWrite has one EndWrite, whoever died.
  absl::StatusOr<std::vector<base::BlockRef>> BeginWrite(SessionId session, ReservationId id);
  void EndWrite(ReservationId id);
  // Marks layers as written; Commit wants all of them (a blob counts as one layer, of state each
  // block does).
  absl::Status MarkWritten(SessionId session, ReservationId id, uint32_t layer_begin,
                           uint32_t layer_end);
  // Whether Commit would take it: no layer is left, no write in progress.
  bool MayCommit(SessionId session, ReservationId id) const;
  // Of a log whose base is not there (store_state.cc): FailedPrecondition while that is reserved,
  // otherwise NotFound, and the reservation is given up.
  absl::StatusOr<ObjectId> Commit(SessionId session, ReservationId id, absl::Time now);
  absl::Status Abort(SessionId session, ReservationId id);

  // `object` also serves `context`, approximately.
  absl::Status Link(ObjectId object, const base::Key& context, const base::Key& parent_context);

  // ---- Reading
  // Neither refreshes nor pins. Exact first; otherwise, if accepted, the best other variant of the
  // content.
  Found Find(const FindQuery& query);
  // Segments whose parent context is `context` (links included), newest first: what may continue
  // it.
  std::vector<Found> Children(const base::Key& context, bool lossless) const;
  // Checkpoints whose tokens begin at `context`, newest first; at most max_states.
  std::vector<ObjectView> CheckpointsFrom(const base::Key& context, size_t max_states) const;
  // Logs of the tokens behind the state at `context`, of which `position` is the first; newest
  // first, at most max_states.
  std::vector<ObjectView> LogsFrom(const base::Key& context, uint32_t position,
                                   size_t max_states) const;
  // The segment whose context (own or linked) is `context`.
  Found ByContext(const base::Key& context, bool lossless) const;

  // What `id` names now; kMiss when it is gone.
  ObjectView Describe(ObjectId id) const;

  // Pins a memory-resident object and refreshes it. NotFound when it is gone, FailedPrecondition
  // when it is on disk only.
  absl::StatusOr<Lease> Acquire(SessionId session, ObjectId id, absl::Time now);
  // The same of what has been described, without a search; its blocks are appended.
  absl::StatusOr<LeaseId> Acquire(SessionId session, const ObjectView& view, absl::Time now,
                                  std::vector<base::BlockRef>* blocks);
  bool Holds(SessionId session, LeaseId lease) const;
  uint32_t CountLeases(SessionId session) const;
  absl::Status Release(SessionId session, LeaseId lease);
  // The blocks and header behind a lease of this session.
  absl::StatusOr<const StoredHeader*> LeasedHeader(SessionId session, LeaseId lease) const;
  absl::StatusOr<std::vector<base::BlockRef>> LeasedBlocks(SessionId session, LeaseId lease) const;

  // Aborts its reservations and releases its leases. A session that is unknown is no error.
  void CloseSession(SessionId session);
  // Releases leases older than `max_age` whoever holds them (a stopped worker); generations keep
  // its reads in place safe. Those for which `keep` answers true stay: their bytes are on their
  // way.
  uint64_t ExpireLeases(
      absl::Time now, absl::Duration max_age,
      absl::FunctionRef<bool(SessionId, LeaseId)> keep = [](SessionId, LeaseId) { return false; });
  // Drops at most `limit` objects that nobody has used for object_ttl, the longest unused first;
  // their number. What was found on disk at start counts as used then.
  uint64_t ExpireObjects(absl::Time now, uint64_t limit);

  // ---- The disk tier (has_disk)
  // Dirty objects to write, cheapest first, at most `max_bytes` of payload (one at least). With
  // `only_above_watermark`, only as many as bring memory below the low watermark once it is above
  // the high one. Each is pinned until FinishDemotion.
  std::vector<Demotion> TakeDemotions(uint64_t max_bytes, bool only_above_watermark);
  // OK: the object is on disk, its memory may now be evicted. An error: it stays dirty and is tried
  // again later; ResourceExhausted (disk full), InvalidArgument or the third error in a row: it may
  // be dropped from memory like any object without a disk. DeadlineExceeded (the tier below had no
  // room yet) is no such error.
  void FinishDemotion(ObjectId id, const absl::Status& written);
  Staging BeginStage(ObjectId id, absl::Time now);
  // OK: readable from memory. DataLoss, NotFound or the third error in a row: the object is
  // dropped. Any other error: it stays on disk. ResourceExhausted and Cancelled (nobody has tried
  // to read it) do not count.
  void FinishStage(ObjectId id, const absl::Status& read);
  // Its record turned out to be damaged: what is in memory is written again, what is not is
  // dropped.
  void ForgetRecord(ObjectId id);
  // Its bytes in memory turned out to be wrong: only its record is used from now on. Nothing
  // happens while it is pinned, leased or busy, or when there is no record.
  void ForgetMemory(ObjectId id);
  // Whether demoting what is unsaved could make room for this object, which was refused: when its
  // tenant's quota is in the way, only what the tenant itself has unsaved counts.
  bool DemotionMayHelp(const base::ObjectHeader& header);
  // A record found on disk: at the start, or later, when its index has come so far. It must lie
  // there at the time of the call. What was stored under its name meanwhile and is not on disk yet
  // stays: as saved, when the record is of the same header; the record goes otherwise
  // (AlreadyExists), unless it is exact and the object is not: then it takes the object's place
  // (serves_above: it does not).
  // FailedPrecondition: of an unknown model, known already, or about to be replaced or deleted.
  // NotFound: a log without its base, and no more records may come.
  // ResourceExhausted: larger than the arena.
  absl::Status AddDiskRecord(const base::ObjectHeader& header, absl::Time now);
  // While records may come that AddDiskRecord has not been called for, whatever is dropped is
  // deleted below, too, though no record of it is known, and logs are kept whether their base is
  // there or not; those without one go when no more may come. At first none may.
  void ExpectRecords(bool may_come);
  // Records to delete, because their objects were dropped. Cleared by the call. Order: delete these
  // before writing any demotion that was taken later (an object may have come back under the same
  // key).
  std::vector<RecordKey> TakeRecordDrops();

  // ---- Administration
  uint64_t Evict(const Selector& selector);  // how many objects went; leased ones stay
  uint64_t SetPinned(const Selector& selector, bool pinned);  // pinned objects are never evicted
  // In id order from `cursor` on, at most `limit`; the id to go on from, or 0 at the end. `value`
  // is what the eviction policy holds it worth beyond the last that went: 0 goes next, no unit.
  ObjectId List(
      const Selector& selector, ObjectId cursor, uint32_t limit,
      absl::FunctionRef<void(const ObjectView&, bool pinned, uint32_t leases, double value)> each)
      const;
  StoreStats Stats() const;

  // Every invariant that can be checked; Internal names the first that is broken. For tests: it
  // walks over everything.
  absl::Status CheckInvariants() const;
  // Those of at most `limit` objects, in id order from `cursor` on; `*next` is where to go on, 0 at
  // the end.
  absl::Status CheckObjects(ObjectId cursor, uint32_t limit, ObjectId* next) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cistern::storage
