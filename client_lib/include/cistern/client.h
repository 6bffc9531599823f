// Cistern's client: what an inference worker links.
//
//   Connect ─► (Plan ─► Fetch ─► compute what the plan and the fetch left ─► Publish)*
//
//   auto client = cistern::Client::Connect({.address = "unix:/run/cistern/node.sock"});
//   auto plan   = (*client)->MakePlan(model, tokens, {.reuse = cistern::Reuse::kContent});
//   auto fetch  = (*client)->Fetch(std::move(*plan), my_paged_cache);
//   auto result = fetch->Wait();                       // result.missing: compute these as well
//   ... prefill what is not there ...
//   (*client)->Publish(model, tokens, result, {0, tokens.size()}, my_rows);
//
// A cache must never be the reason that inference stops: every call has a deadline, and after
// an error the caller computes. A dead node costs one deadline. A slow one costs three in a row,
// then plans and publishes answer Unavailable at once; from time to time one of them asks the node
// again. A hash is never trusted alone: token ids are compared before one byte is used.
//
// Thread   any; a Client serves many threads at once. A Plan or handle belongs to one thread
// at a time
// Errors   InvalidArgument: fix the call. Unavailable, DeadlineExceeded: no node;
// compute. ResourceExhausted: back off
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/blobs.h"
#include "cistern/paged_cache.h"
#include "cistern/plan.h"
#include "cistern/policy.h"
#include "cistern/state.h"

namespace cistern::transport {
class Link;
}

namespace cistern {

using base::ModelSpec;
using base::TokenId;

struct TokenRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};

struct ClientOptions {
  std::string address;  // "unix:PATH" or "host:port"
  std::string name = "worker";
  std::string salt;  // the tenant's; empty = the shared tenant
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration call_deadline = absl::Seconds(5);
  absl::Duration reconnect_backoff =
      absl::Seconds(1);      // first wait after a dead connection (doubles, jittered, to 30 s), and
                             // for a node that is too slow (doubles to 30 s)
  bool want_mapping = true;  // same host: read the node's memory in place
  base::RotaryArithmetic arithmetic = base::RotaryArithmetic::kFp32Table;  // this worker's own
  CostModel cost;
  uint64_t max_staging_bytes = 256ull << 20;            // buffers for bytes that come or go by copy
  absl::Duration publish_deadline = absl::Seconds(30);  // of one Publish, all its calls together
  // Each runs one fetch at a time, in order: a fetch that waits for the node's disk holds up those
  // behind it, also those that need memory only. More than one where both are in flight together.
  uint32_t fetch_threads = 1;
  uint32_t max_queued_fetches = 1024;  // one more is ResourceExhausted
};

struct FetchOptions {
  absl::Duration deadline = absl::Seconds(30);
  // Called once per layer, in order, when every span of the plan has its rows of that layer, or is
  // known to be missing (FetchHandle::Missing); from a thread of the client's, or from within
  // WaitLayer or Wait of this fetch. It may call Missing and Cancel on the handle, but must neither
  // wait for it nor drop it.
  std::function<void(uint32_t layer)> on_layer;
  // Where k_r before RoPE goes as well; the shape of RowSource::pre_rope. Filled for rows that are
  // stored unrotated, in chunks of which the worker computes a part (Span::pre_rope): with it such
  // a chunk can be published whole. Empty: not delivered.
  std::vector<std::byte*> pre_rope;  // [num_layers]
  uint64_t pre_rope_stride = 0;
  // In all chunks that are stored unrotated: for a worker that turns them by its own operation, to
  // the very bytes that it would have computed.
  bool pre_rope_everywhere = false;
  // Where the state goes, of a plan whose resume() is not at 0, and what folding needs.
  StateView state;
  StateConstants constants;
};

// Rows that are in the cache now, and what is not.
struct FetchResult {
  std::vector<TokenRange>
      missing;  // planned, but gone meanwhile or not delivered in time: compute these too
  std::vector<Span> delivered;  // as planned, without what is missing
  uint64_t bytes_memory = 0;    // fetched from the node's memory
  uint64_t bytes_disk = 0;      // staged from its disk for this fetch
  uint64_t mapped_bytes = 0;    // of all, read in place
  // Rows from here on have an approximate past: they are, or were computed behind, rows that were
  // reused by content. A span that was lost after its first layer was announced counts as well: the
  // worker may have computed from the rows that it had. UINT32_MAX: nothing is approximate.
  uint32_t approximate_from = UINT32_MAX;
  bool approximate = false;  // approximate_from says where
  uint64_t incarnation = 0;  // of the node that Span::object_id belongs to
  // Of a hybrid model: the state behind this token is in place. 0: there is none, and nothing else
  // was delivered: compute from the beginning, with zero state.
  uint32_t state_position = 0;
  // The state that it was made from, as it is stored: behind the same token, or before it, when a
  // log was left in its middle. What is shared next may continue it.
  uint32_t stored_position = 0;
  uint32_t stored_chain_tokens = 0;  // to there, since its checkpoint: how long the log is
  uint64_t state_bytes = 0;          // fetched, of checkpoint and log
  // Of a cache or state in device memory: why it did not take all that came.
  absl::Status device_error;
};

// A fetch under way. Dropping it cancels it: once the destructor returns nothing is written any
// more.
//
// An engine that starts layer 0 before all is there asks before each layer:
//
//   for each layer:  WaitLayer(layer) ─► Missing() grew? compute those tokens as well ─► the layer
//
// A range that turns up as missing at layer n had the planned rows in every layer before n, so what
// was computed from them is as good as the plan said: only the range's own tokens are to be
// computed, from layer 0. Was the range reused by content, what lies behind it is approximate
// nevertheless (FetchResult::approximate_from): the lost rows are in its past.
//
// Of a hybrid model rows and state come together or not at all: whenever Missing() names anything,
// it names all that was planned. The sequence then begins anew, at token 0 and with zero state;
// what lies in FetchOptions::state is nobody's.
class FetchHandle {
 public:
  class Impl;
  FetchHandle();
  explicit FetchHandle(std::unique_ptr<Impl> impl);
  ~FetchHandle();
  FetchHandle(FetchHandle&&) noexcept;
  FetchHandle& operator=(FetchHandle&&) noexcept;

  // Until all rows of `layer` are in place, or it is known which are not. What is leased already
  // and no thread has begun to move is moved by the caller: from the mapped memory, or by calls to
  // the node. DeadlineExceeded after the fetch's deadline.
  absl::Status WaitLayer(uint32_t layer);
  // What is known by now to be missing, ascending. It only grows, and ends as
  // FetchResult::missing. After WaitLayer(n) answered OK, and in on_layer(n), every planned range
  // that is not in it has its rows of the layers up to n in place. After an error of WaitLayer only
  // Wait knows. Never waits for the node.
  std::vector<TokenRange> Missing() const;
  // Always answers: what did not come is in `missing`. An error only for a wrong call.
  absl::StatusOr<FetchResult> Wait();
  void Cancel();

 private:
  std::unique_ptr<Impl> impl_;
};

struct PublishReport {
  uint64_t segments = 0;          // stored now
  uint64_t segments_had = 0;      // the node had them already
  uint64_t segments_linked = 0;   // reused by content and made findable in this context
  uint64_t segments_dropped = 0;  // no room, or not written in time
  uint64_t bytes = 0;
};

// A publish that goes along with the computation, layer by layer.
//
//   StartPublish ─► (compute a layer ─► LayerDone)* ─► Finish
//
// LayerDone copies the rows out and sends them; it does not wait until the node has them, unless
// several layers are on their way. Nothing of a segment is visible before all its layers are there.
// Dropping the handle before Finish gives up what is not complete.
class PublishHandle {
 public:
  class Impl;
  PublishHandle();
  explicit PublishHandle(std::unique_ptr<Impl> impl);
  ~PublishHandle();
  PublishHandle(PublishHandle&&) noexcept;
  PublishHandle& operator=(PublishHandle&&) noexcept;

  // The source has its rows of every layer up to this one; they stay as they are until Finish.
  // Rows of later layers are not looked at. What cannot be sent shows in Finish.
  absl::Status LayerDone(uint32_t layer);
  // Waits for the node. Once. FailedPrecondition: a layer is not done yet; go on, or drop it.
  absl::StatusOr<PublishReport> Finish();

 private:
  std::unique_ptr<Impl> impl_;
};

struct ClientStats {
  uint64_t plans = 0, plan_failures = 0;
  // Failed: refused, or planned rows that did not come although nobody cancelled.
  uint64_t fetches = 0, fetch_failures = 0;
  uint64_t publishes = 0, publish_failures = 0;
  uint64_t token_mismatches = 0;
  uint64_t stale_reads = 0;  // generation changed under a read in place: dropped
  uint64_t checksum_failures = 0;
  uint64_t device_errors = 0;  // fetches that a device failed
  uint64_t reconnects = 0;
  uint64_t refused_slow = 0;  // plans and publishes that a slow node was spared
};

class Client {
 public:
  // Waits for a node that is just starting and does not listen yet. Unavailable when none answers
  // within connect_timeout.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  // Over a link that the caller made: a node inside this process (cacheserver/embedded.h), or a
  // test's.
  static absl::StatusOr<std::unique_ptr<Client>> Over(std::unique_ptr<transport::Link> link,
                                                      const ClientOptions& options);
  virtual ~Client() = default;

  // `part_boundaries`: offsets into `tokens` where messages, tool results or documents begin, if
  // the caller knows them (ascending; 0 and the end need not be given). The chunker cuts there, so
  // that equal parts are equal chunks.
  virtual absl::StatusOr<Plan> MakePlan(const ModelSpec& model, std::span<const TokenId> tokens,
                                        const PlanPolicy& policy,
                                        std::span<const uint32_t> part_boundaries = {}) = 0;

  // Uses `plan` up. After an error it is as it was, and its leases are still held.
  virtual absl::StatusOr<FetchHandle> Fetch(Plan&& plan, const PagedCache& destination,
                                            const FetchOptions& options = {}) = 0;

  // Shares rows of `tokens` that the worker has computed: every chunk that lies in `range` and was
  // not delivered from the cache (`fetched`). Chunks behind a span that was reused by content are
  // published with an approximate lineage, also if that span was lost after a layer of it had been
  // announced (FetchResult::approximate_from). A chunk that was reused by content as a whole is
  // linked, so that the next turn finds it in its new context. A chunk of which a part was reused
  // is published whole if all its rows are what the worker would have computed (Span::native), or
  // have their k_r before RoPE at hand; otherwise its computed parts become segments of their own.
  // What finds no room is dropped and counted: not an error. `part_boundaries` must be MakePlan's
  // for these tokens: others cut other chunks, which the next plan does not find.
  virtual absl::StatusOr<PublishReport> Publish(const ModelSpec& model,
                                                std::span<const TokenId> tokens,
                                                const FetchResult& fetched, TokenRange range,
                                                const RowSource& rows,
                                                std::span<const uint32_t> part_boundaries = {}) = 0;

  // The same, while the rows are computed. The source, its block table too, and the client outlive
  // the handle. publish_deadline counts for each of the handle's calls by itself.
  virtual absl::StatusOr<PublishHandle> StartPublish(
      const ModelSpec& model, std::span<const TokenId> tokens, const FetchResult& fetched,
      TokenRange range, const RowSource& rows, std::span<const uint32_t> part_boundaries = {}) = 0;

  // Shares states of `tokens` that the worker has (a hybrid model's). Each point becomes a log of
  // the tokens since the state before it, where that is known to the node, the chain of logs is
  // within the policy's bound and the log is smaller than a checkpoint; otherwise a checkpoint.
  // `tokens` may be longer than the plan's: the call's output is part of the sequence. `fetched`:
  // what the sequence was resumed from.
  virtual absl::StatusOr<StateReport> PublishStates(
      const ModelSpec& model, std::span<const TokenId> tokens, const FetchResult& fetched,
      const StateSource& source, const StatePolicy& policy = {},
      std::span<const uint32_t> part_boundaries = {}) = 0;

  // Bytes by name, without a model (blobs.h). As long as the client lives.
  virtual Blobs& blobs() = 0;

  virtual ClientStats stats() const = 0;
};

}  // namespace cistern
