// A node for the client's tests: a map of objects behind a real Link, with memory in pages, a
// "disk", leases, and faults on request. Written from the messages' contract alone, not from the
// server.
//
// Thread   FakeNode: any. Each FakeLink answers on a thread of its own
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"

#include "base/arena_layout.h"
#include "base/model_spec.h"
#include "base/mutex.h"
#include "base/object.h"
#include "transport/link.h"

namespace cistern::testing {

using transport::LeaseId;
using transport::ObjectId;
using transport::Reply;
using transport::Request;
using transport::ReservationId;

// A function that may be set while others call it.
template <typename Signature>
class Hook {
 public:
  Hook& operator=(std::function<Signature> hook) {
    base::MutexLock lock(&mutex_);
    hook_ = std::move(hook);
    return *this;
  }
  std::function<Signature> get() const {
    base::MutexLock lock(&mutex_);
    return hook_;
  }

 private:
  mutable base::Mutex mutex_;
  std::function<Signature> hook_ ABSL_GUARDED_BY(mutex_);
};

struct FakeNodeOptions {
  base::ModelSpec model;  // the pages' size
  uint32_t num_pages = 4096;
  bool mapped = true;
  uint64_t incarnation = 77;
};

class FakeNode : public std::enable_shared_from_this<FakeNode> {
 public:
  explicit FakeNode(const FakeNodeOptions& options);

  std::unique_ptr<transport::Link> Connect();

  // ---- Faults. Called on the link's thread before a request is served.
  // An error is the reply; nothing: serve it.
  Hook<std::optional<absl::Status>(const Request&)> intercept;
  // Called after the reply is made, before it is sent: may change it, or the node.
  Hook<void(const Request&, Reply*)> tamper;

  // Called on the thread that makes a call, before anything else.
  Hook<void(const Request&)> called;

  // Takes no payload with a Reserve, as a node that could not.
  std::atomic<bool> write_later{false};
  // Links go ahead of payloads; how many calls did.
  std::atomic<bool> follows{false};
  std::atomic<uint64_t> ahead{0};
  // Nothing is committed any more.
  std::atomic<bool> never_commit{false};

  // Every link dies now: calls in flight and later ones are Unavailable.
  void Kill() { ++killed_; }
  // Requests of this kind wait until the gate is opened, or their deadline has passed.
  template <typename T>
  void Hold() {
    only_one_ = false;
    gate_ = Request(T{}).index();
  }
  // Only the next one.
  template <typename T>
  void HoldOne() {
    only_one_ = true;
    gate_ = Request(T{}).index();
  }
  void OpenGate() { gate_ = kNoGate; }
  // Waits until requests wait at the gate.
  void AwaitHeld();

  // ---- Looking in
  struct Stored {
    base::ObjectHeader header;
    std::vector<base::BlockRef> blocks;                  // empty: on disk
    std::vector<std::byte> disk;                         // pages, as in memory
    std::vector<std::pair<base::Key, base::Key>> links;  // context, parent context
    uint32_t leases = 0;
    bool committed = false;
    std::set<uint32_t> layers_written;
  };
  std::map<ObjectId, Stored> objects();  // committed ones
  std::vector<std::byte> StoredRow(ObjectId id, uint32_t layer, uint32_t token);
  size_t num_leases();
  uint64_t num_released();  // leases that were given back
  size_t num_reservations();
  uint64_t calls(size_t request_index);
  template <typename T>
  uint64_t Calls() {
    return calls(Request(T{}).index());
  }

  // ---- Changing things
  void MoveToDisk(ObjectId id);
  void MoveAllToDisk();
  void Drop(ObjectId id);
  // As a node does that reuses the blocks of `id`: another generation, other bytes.
  void ReuseBlocks(ObjectId id);
  // A stored segment that claims a key that is not its tokens'.
  void ChangeTokens(ObjectId id, const std::vector<base::TokenId>& tokens);
  void SetIncarnation(uint64_t incarnation);  // in the mapping's header
  void ForgetModels();

  // ---- For FakeLink
  Reply Serve(const Request& request, const transport::CallOptions& options);
  bool MustWait(const Request& request) const { return request.index() == gate_; }
  bool StopsAtTheGate(const Request& request) {
    return MustWait(request) && !(only_one_ && std::exchange(one_waits_, true));
  }
  void SetHeld();
  uint64_t ReadBytes(const transport::ReadRequest& request);  // what its reply brings
  uint64_t killed() const { return killed_; }
  const transport::HelloReply& hello() const { return hello_; }
  const std::byte* arena() const { return options_.mapped ? arena_.get() : nullptr; }

 private:
  struct Hit {
    ObjectId id = 0;
    transport::Match match = transport::Match::kExact;
    base::Lineage lineage = base::Lineage::kExact;
  };
  std::optional<Hit> Lookup(const transport::FindItem& item, bool lossless);
  std::vector<Hit> Children(const base::Key& context, bool lossless, transport::Match match);
  std::vector<Hit> Before(const base::Key& context, bool lossless, transport::Match match);
  void AddNeighbours(const transport::FindRequest& request,
                     const std::vector<std::optional<Hit>>& hits, transport::FindReply* reply,
                     std::map<ObjectId, uint32_t>* index);
  uint32_t Describe(ObjectId id, transport::FindReply* reply, std::map<ObjectId, uint32_t>* index);
  void Lease(uint32_t object, transport::FindReply* reply);

  Reply On(const transport::HelloRequest&, const transport::CallOptions&);
  Reply On(const transport::RegisterModelRequest&, const transport::CallOptions&);
  Reply On(const transport::FindRequest&, const transport::CallOptions&);
  Reply On(const transport::LeaseRequest&, const transport::CallOptions&);
  Reply On(const transport::ReleaseRequest&, const transport::CallOptions&);
  Reply On(const transport::ReadRequest&, const transport::CallOptions&);
  Reply On(const transport::ReserveRequest&, const transport::CallOptions&);
  Reply On(const transport::WriteRequest&, const transport::CallOptions&);
  Reply On(const transport::CommitRequest&, const transport::CallOptions&);
  Reply On(const transport::AbortRequest&, const transport::CallOptions&);
  Reply On(const transport::LinkRequest&, const transport::CallOptions&);
  Reply On(const transport::AdminRequest&, const transport::CallOptions&);

  // False: no such reservation.
  bool CopyIn(const std::vector<ReservationId>& reservations, uint32_t layer_begin,
              uint32_t layer_end, const transport::CallOptions& options);
  uint32_t CommitComplete(const std::vector<ReservationId>& reservations);

  // How an object lies in pages, and what a Read or Write calls a layer of it: of a state, a block,
  // each in a page of its own (a test's states are small).
  uint32_t NumBlocks(const base::ObjectHeader& header) const;
  uint32_t NumLayers(const base::ObjectHeader& header) const;
  void ForEachPart(const Stored& stored, uint32_t layer,
                   const std::function<void(std::byte* bytes, size_t size)>& each);
  uint64_t LayerBytes(const base::ObjectHeader& header, uint32_t layer) const;
  uint64_t StateBlockBytes(const base::ObjectHeader& header) const;
  // Whether the state that a log needs is there.
  bool HasBase(const base::ObjectHeader& header);
  void AddStates(const transport::FindRequest& request, const std::vector<std::optional<Hit>>& hits,
                 transport::FindReply* reply, std::map<ObjectId, uint32_t>* index);

  // Pages, demoting what nobody leases; empty when there is no room.
  std::vector<base::BlockRef> Allocate(uint32_t pages);
  void Free(std::vector<base::BlockRef>* blocks);
  bool Demote(Stored* stored);
  std::byte* Page(const base::BlockRef& block) { return arena_.get() + block.offset; }
  std::byte* Row(const Stored& stored, uint32_t layer, uint32_t token);
  LeaseId NewLease(ObjectId id);

  const FakeNodeOptions options_;
  transport::HelloReply hello_;
  base::Mutex mutex_;
  base::CondVar changed_;
  uint64_t arena_bytes_ = 0;
  std::unique_ptr<std::byte, void (*)(void*)> arena_;  // calloc's: pages are made when touched
  std::vector<uint32_t> free_pages_;
  std::map<ObjectId, Stored> objects_;
  std::map<base::Key, std::vector<ObjectId>> by_content_;
  std::map<base::Key, std::vector<ObjectId>> by_context_;  // own and linked
  std::map<base::Key, std::vector<ObjectId>> by_parent_;   // own and linked
  std::map<LeaseId, ObjectId> leases_;
  uint64_t num_released_ = 0;
  std::map<ReservationId, ObjectId> reservations_;
  std::set<base::Key> models_;
  std::map<size_t, uint64_t> calls_;
  uint64_t next_id_ = 1;
  static constexpr size_t kNoGate = SIZE_MAX;
  std::atomic<size_t> gate_{kNoGate};
  std::atomic<bool> only_one_ = false;
  bool one_waits_ = false;  // the links' thread
  std::atomic<uint64_t> killed_{0};
  bool held_ = false;
};

}  // namespace cistern::testing
