// A store, a disk and a few workers that do whatever the dice say, beside a plain map that knows
// what must be true.
//
// The map cannot foresee which object is evicted; it knows what may happen to each: a leased,
// pinned or busy object stays, an object that is on no disk does not vanish from a store with a
// disk, a log stays exactly as long as a state that it stands on, bytes never change. After each
// step World compares the store with the map and records the
// first difference in `trouble`.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

#include "storage/arena.h"
#include "storage/store.h"

namespace cistern::model_test {

// The element at `position`, taken out.
template <typename T>
T Take(std::vector<T>* from, size_t position) {
  T taken = std::move((*from)[position]);
  from->erase(from->begin() + static_cast<ptrdiff_t>(position));
  return taken;
}

struct WorldOptions {
  uint64_t seed = 0;
  bool has_disk = false;
  uint64_t arena_bytes = 192 << 10;
  uint32_t max_handles = 0;
  std::string eviction_policy = "value";
  absl::Duration object_ttl = absl::InfiniteDuration();
  uint64_t quota_bytes = 0;  // of tenant 1; then tenant 2 has a higher priority, tenant 0 a lower
  bool predict_demand = false;
  uint64_t steps_per_look = 8;  // at all bytes in memory: a look is a use
  bool loads_later = false;     // after a restart records are come to one by one
};

class World {
 public:
  explicit World(const WorldOptions& options);

  // One random call and its consequences.
  void Step();
  // Ends all leases, reservations, demotions and stagings; then everything must be evictable.
  void Settle();

  const std::string& trouble() const { return trouble_; }
  uint64_t trace() const { return trace_; }  // a hash of every answer so far
  storage::Store& store() { return *store_; }
  uint64_t steps() const { return steps_; }
  // Records whose name had been taken again when they were come to.
  uint64_t records_met() const { return records_met_; }
  // Logs that were refused for want of the state that they need, and that went with it.
  uint64_t logs_refused() const { return logs_refused_; }
  uint64_t logs_followed() const { return logs_followed_; }

 private:
  using Name = std::pair<base::Key, base::Key>;  // content, context
  // What the map knows of a committed object.
  struct Known {
    storage::ObjectId id = 0;
    base::ObjectHeader header;
    uint64_t seed = 0;  // of its bytes
    uint32_t leases = 0;
    uint32_t failed_writes = 0, failed_reads = 0;  // in a row
    absl::Time last_use;
    bool in_memory = false;
    bool on_disk = false;
    bool pinned = false;
    bool droppable = false;
    bool doomed = false;
  };
  struct Held {
    storage::SessionId session;
    storage::LeaseId lease;
    Name name;
    storage::ObjectId object;
    uint64_t seed;
    uint64_t block_bytes;
    std::vector<base::BlockRef> blocks;
    absl::Time since;
  };
  struct Writing {
    storage::SessionId session;
    storage::ReservationId id;
    base::ObjectHeader header;
    uint64_t seed;
    uint32_t layers, written;
    uint32_t writers;
    bool aborted;
    std::vector<base::BlockRef> blocks;
  };
  struct InFlight {  // to or from disk
    storage::ObjectId id;
    base::ObjectHeader header;
    uint64_t seed;
    std::vector<base::BlockRef> blocks;
  };
  storage::StoreOptions StoreOptionsNow() const;
  enum Allowed : unsigned { kNothing = 0, kEvicts = 1, kLimitsVariants = 2 };

  void Reserve();
  void Write();
  void Commit();
  void Abort();
  void Find();
  void Acquire();
  void Release();
  void LinkSome();
  void CloseSession();
  void Expire();
  void ExpireObjects();
  void EvictSome();
  void Pin();
  void Demote();
  void FinishDemotion();
  void Stage();
  void FinishStage();
  void Restart();
  void LoadSome();
  void LoadOne(const Name& name);

  base::ObjectHeader RandomHeader();
  base::ObjectHeader RandomState();
  static bool IsBaseOf(const base::ObjectHeader& state, const base::ObjectHeader& log);
  bool IsOrphan(const base::ObjectHeader& header) const;
  // Forgets the logs whose base is gone.
  void ForgetOrphans();
  // What the store should drop of these when it is told to, in this order.
  uint64_t ForgetInOrder(const std::vector<Name>& names);
  void EndLoading();
  void CheckStates(const base::ObjectHeader& header);
  uint64_t BlockBytes(const base::ObjectHeader& header) const;
  Known* ById(storage::ObjectId id);
  bool Busy(storage::ObjectId id) const;
  void Forget(Known& known);
  void FlushDrops();
  void AbortAt(size_t position);
  void ReleaseAt(size_t position);
  // Compares every known object with the store; what vanished must have been allowed to, and for
  // room for blocks of `wanted_bytes` in its turn.
  void Sync(unsigned allowed, uint64_t wanted_bytes = 0);
  bool Evictable(const Known& known) const;
  void CheckTurns(const std::vector<base::ObjectHeader>& victims, uint64_t wanted_bytes);
  void CheckBytes();
  void Fail(const std::string& what);
  void Note(uint64_t answer) { trace_ = (trace_ ^ answer) * 0x100000001b3; }
  uint64_t Roll(uint64_t below) { return random_() % below; }
  storage::SessionId RandomSession() { return 1 + Roll(3); }

  WorldOptions options_;
  std::mt19937_64 random_;
  std::unique_ptr<storage::Arena> arena_;
  std::unique_ptr<storage::Store> store_;
  std::vector<base::ModelSpec> models_;
  absl::Time now_ = absl::UnixEpoch();
  uint64_t next_seed_ = 1;
  uint64_t steps_ = 0;
  uint64_t records_met_ = 0;
  uint64_t logs_refused_ = 0, logs_followed_ = 0;
  bool records_may_come_ = false;
  uint64_t trace_ = 0xcbf29ce484222325;
  std::string trouble_;
  std::string last_step_;

  std::map<Name, Known> known_;
  std::vector<Held> held_;
  std::vector<Writing> writing_;
  std::vector<InFlight> demoting_;
  std::vector<InFlight> staging_;
  std::map<Name, uint64_t> disk_;  // seed of the bytes in each record
  std::map<Name, base::ObjectHeader>
      unloaded_;  // of these, those that the store has not been told of
  // Of these, those that it refused because a demotion was writing the same name.
  std::map<Name, base::ObjectHeader> refused_;
};

}  // namespace cistern::model_test
