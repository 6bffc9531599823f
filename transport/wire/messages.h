// Every message between a worker (or the admin CLI) and a node, as plain structs.
//
// The wire form is Cap'n Proto (transport/wire/cistern.capnp); encoding and decoding live in
// codec.h, so that no other folder sees Cap'n Proto. One request has one reply. Bulk bytes never
// ride inside a message: they travel beside it, as the payload of a call (link.h, service.h), in
// the order that the message names.
//
// A worker's protocol:  (RegisterModel (Find Lease* Read* Release | Reserve Write* (Commit | Abort)
// | Link)*)*, where a commit may ride on the last write, and the first write on the Reserve. Leases
// and reservations belong to the session; when the connection dies they are
// released.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"

#include "base/arena_layout.h"
#include "base/key.h"
#include "base/object.h"

namespace cistern::transport {

inline constexpr uint32_t kProtocolVersion = 9;
inline constexpr uint64_t kMaxMessageBytes = 32ull << 20;  // of one encoded message
inline constexpr uint32_t kMaxItems = 16384;               // keys, ids or headers in one message

using ObjectId = uint64_t;  // names an object within one incarnation of a node
using LeaseId = uint64_t;   // 0 = none
using ReservationId = uint64_t;

// ---- Opening. The transport itself answers it; a service never sees it.

struct HelloRequest {
  uint32_t version = kProtocolVersion;
  std::string client_name;   // for logs and `cistern status`
  bool want_mapping = true;  // same host: ask for the arena's file descriptor
  friend bool operator==(const HelloRequest&, const HelloRequest&) = default;
};

struct HelloReply {
  uint32_t version = kProtocolVersion;
  std::string node_name;
  uint64_t incarnation = 0;
  uint64_t arena_bytes = 0;       // 0: nothing is mapped, bytes come by Read
  uint64_t blob_block_bytes = 0;  // how the node cuts blobs; 0: it takes none
  friend bool operator==(const HelloReply&, const HelloReply&) = default;
};

// ---- Models

struct RegisterModelRequest {
  std::string spec_json;  // base::ModelSpec::ToJson
  friend bool operator==(const RegisterModelRequest&, const RegisterModelRequest&) = default;
};
struct RegisterModelReply {
  base::Key fingerprint;
  friend bool operator==(const RegisterModelReply&, const RegisterModelReply&) = default;
};

// ---- Finding and reading

enum class Where : uint8_t { kMiss = 0, kMemory = 1, kDisk = 2 };
enum class Match : uint8_t {
  kExact = 0,
  kContent = 1
};  // exact: the asked context; content: another one

struct FindItem {
  base::Key content;
  base::Key context;
  bool accept_content = false;  // another context will do
  friend bool operator==(const FindItem&, const FindItem&) = default;
};

// Looks up the chunks of one prompt, in order. It neither refreshes nor pins what it finds unless
// `lease` is set. Blobs are found by their content alone: their model and context are zero.
struct FindRequest {
  base::Key model;          // zero: the items are blobs
  base::Key start_context;  // before items[0]
  bool lease = true;        // lease what lies in memory
  bool lossless = false;    // take no object whose lineage is approximate
  bool neighbours =
      true;  // also describe stored segments beside the gaps, for reuse of part of a segment
  bool states = false;  // also describe states on the way: see FindReply::states
  std::vector<FindItem> items;
  std::vector<LeaseId> release;  // given back first, as by a Release, if the call is served
  friend bool operator==(const FindRequest&, const FindRequest&) = default;
};

// A part of a list that several share.
struct ListRun {
  uint32_t first = 0;
  uint32_t count = 0;
  friend bool operator==(const ListRun&, const ListRun&) = default;
};

// A stored object, as a reader needs it.
struct ObjectRef {
  ObjectId id = 0;
  base::ObjectHead header;  // its own context and base position, not the asked ones
  Where where = Where::kMiss;
  LeaseId lease = 0;
  ListRun tokens;  // of FindReply::tokens
  ListRun blocks;  // of FindReply::blocks, in page order; some when leased
  friend bool operator==(const ObjectRef&, const ObjectRef&) = default;
};

struct FindResult {
  Where where = Where::kMiss;
  Match match = Match::kExact;
  base::Lineage lineage =
      base::Lineage::kExact;  // of the hit: a linked context is always approximate
  uint32_t object = 0;        // index into FindReply::objects
  friend bool operator==(const FindResult&, const FindResult&) = default;
};

// A segment that may share tokens with a chunk that was not found. `after`: its first tokens
// continue items[item] (item = -1: the start); otherwise its last tokens precede items[item]. Never
// leased: use Lease.
struct Neighbour {
  int32_t item = 0;
  bool after = true;
  Match match = Match::kExact;
  base::Lineage lineage = base::Lineage::kExact;
  uint32_t object = 0;
  friend bool operator==(const Neighbour&, const Neighbour&) = default;
};

struct FindReply {
  std::vector<FindResult> results;  // one per item
  std::vector<Neighbour> neighbours;
  // Checkpoints that begin at start_context or at the context of an item up to the first one that
  // was not found exactly, deepest first; each followed by the logs that continue it, a log after
  // the state that it needs. Logs from the beginning of the prompt (zero state) come last.
  std::vector<uint32_t> states;  // indexes of objects
  std::vector<ObjectRef> objects;
  // Of all objects, in their order: a vector for each would be most of what a lookup costs.
  std::vector<base::TokenId> tokens;
  std::vector<base::BlockRef> blocks;

  std::span<const base::TokenId> TokensOf(const ObjectRef& object) const {
    return std::span(tokens).subspan(object.tokens.first, object.tokens.count);
  }
  std::span<const base::BlockRef> BlocksOf(const ObjectRef& object) const {
    return std::span(blocks).subspan(object.blocks.first, object.blocks.count);
  }
  base::ObjectHeader HeaderOf(const ObjectRef& object) const;
  // One more object, behind all others; valid until the next one.
  ObjectRef& Add(ObjectId id, const base::ObjectHead& header,
                 std::span<const base::TokenId> of_header);
  // The last object's.
  void AddBlocks(std::span<const base::BlockRef> more);

  friend bool operator==(const FindReply&, const FindReply&) = default;
};

// Leases objects, bringing them from disk first. Answered when all are settled or the call's
// deadline is near.
struct LeaseRequest {
  std::vector<ObjectId> objects;
  friend bool operator==(const LeaseRequest&, const LeaseRequest&) = default;
};
enum class LeaseOutcome : uint8_t {
  kLeased = 0,
  kGone = 1,    // evicted since, or its record was corrupt: a miss
  kNoRoom = 2,  // memory is full of leased blocks: release some, ask again
};
struct LeaseResult {
  LeaseOutcome outcome = LeaseOutcome::kGone;
  bool from_disk = false;
  LeaseId lease = 0;
  std::vector<base::BlockRef> blocks;
  friend bool operator==(const LeaseResult&, const LeaseResult&) = default;
};
struct LeaseReply {
  std::vector<LeaseResult> results;
  friend bool operator==(const LeaseReply&, const LeaseReply&) = default;
};

struct ReleaseRequest {
  std::vector<LeaseId> leases;
  friend bool operator==(const ReleaseRequest&, const ReleaseRequest&) = default;
};
struct ReleaseReply {
  friend bool operator==(const ReleaseReply&, const ReleaseReply&) = default;
};

// Bytes of leased objects by copy. Payload of the reply, dense: for each layer, for each lease, its
// rows (all tokens). A blob is its bytes, one layer. Of state each block counts as a layer: of a
// checkpoint a state layer, of a log a token (base/state_spec.h). Each of the leases must have all
// layers that are asked for. `checksum` is of the whole payload (transport/checksum.h); 0 = not
// checked.
struct ReadRequest {
  std::vector<LeaseId> leases;
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  friend bool operator==(const ReadRequest&, const ReadRequest&) = default;
};
struct ReadReply {
  uint64_t payload_bytes = 0;
  uint64_t checksum = 0;
  friend bool operator==(const ReadReply&, const ReadReply&) = default;
};

// ---- Publishing

// The first write may ride along, so that a small object is published by one call: a payload with
// layers [0, layer_end) of the first `payload_headers` headers, in WriteRequest's order. It is
// taken only when everything was reserved.
struct ReserveRequest {
  std::vector<base::ObjectHeader> headers;
  uint32_t payload_headers = 0;  // 0 = no payload
  uint32_t layer_end = 0;
  uint64_t checksum = 0;  // of the payload
  bool commit = false;    // as in WriteRequest
  friend bool operator==(const ReserveRequest&, const ReserveRequest&) = default;
};
enum class ReserveOutcome : uint8_t {
  kReserved = 0,
  kAlreadyHave = 1,  // this content in this context is stored, or another worker is writing it
  kNoRoom = 2,       // memory is full of leased or half-written blocks: back off or drop it
  kTooLarge = 3,     // never fits this node's pool
};
struct ReserveResult {
  ReserveOutcome outcome = ReserveOutcome::kNoRoom;
  ReservationId reservation = 0;
  friend bool operator==(const ReserveResult&, const ReserveResult&) = default;
};
struct ReserveReply {
  std::vector<ReserveResult> results;
  bool written = false;    // the payload was taken, and was right; otherwise write it again
  uint32_t committed = 0;  // as in WriteReply
  friend bool operator==(const ReserveReply&, const ReserveReply&) = default;
};

// Rows into reserved blocks. Payload of the request, dense, in ReadRequest's order. `checksum` as
// in ReadReply.
struct WriteRequest {
  std::vector<ReservationId> reservations;
  uint32_t layer_begin = 0;
  uint32_t layer_end = 0;
  uint64_t checksum = 0;
  // Those of the reservations that have all their layers after this, and no other write in
  // progress, are committed in the same step. On every write of an object: whichever ends last
  // commits it.
  bool commit = false;
  friend bool operator==(const WriteRequest&, const WriteRequest&) = default;
};
struct WriteReply {
  uint32_t committed = 0;  // how many are visible from here on
  friend bool operator==(const WriteReply&, const WriteReply&) = default;
};

// Visible from here on. FailedPrecondition when a layer was never written, or when a log stands on
// a state that is still being written: commit that first. NotFound when the state that a log needs
// is gone: the log is dropped, and its reservation with it. A commit that rides on a write leaves
// out what would be refused here.
struct CommitRequest {
  std::vector<ReservationId> reservations;
  friend bool operator==(const CommitRequest&, const CommitRequest&) = default;
};
struct CommitReply {
  uint32_t committed = 0;
  friend bool operator==(const CommitReply&, const CommitReply&) = default;
};
struct AbortRequest {
  std::vector<ReservationId> reservations;
  friend bool operator==(const AbortRequest&, const AbortRequest&) = default;
};
struct AbortReply {
  friend bool operator==(const AbortReply&, const AbortReply&) = default;
};

// "This stored object also serves in another context, approximately": what a worker says of a chunk
// that it reused by content, so that the next turn of the same conversation finds its whole past in
// one run. No bytes move.
struct LinkItem {
  ObjectId object = 0;
  base::Key context;
  base::Key parent_context;
  friend bool operator==(const LinkItem&, const LinkItem&) = default;
};
struct LinkRequest {
  std::vector<LinkItem> items;
  friend bool operator==(const LinkRequest&, const LinkRequest&) = default;
};
struct LinkReply {
  uint32_t linked = 0;
  friend bool operator==(const LinkReply&, const LinkReply&) = default;
};

// ---- Administration

enum class AdminVerb : uint8_t {
  kStatus = 0,
  kModels = 1,
  kList = 2,
  kInspect = 3,
  kEvict = 4,
  kPin = 5,
  kUnpin = 6,
  kVerify = 7,
  kFlush = 8,
};
// Which objects. Zero fields do not restrict; a request that restricts nothing must say `all`.
struct AdminRequest {
  AdminVerb verb = AdminVerb::kStatus;
  base::Key key;  // content or context key
  base::Key model;
  std::string model_name;
  uint64_t tenant = 0;
  bool has_tenant = false;
  bool all = false;
  uint32_t limit = 0;   // of rows; 0 = the node's default
  uint64_t cursor = 0;  // of a listing
  friend bool operator==(const AdminRequest&, const AdminRequest&) = default;
};
struct AdminReply {
  std::string json;  // one JSON object; tools print it or a table of it
  friend bool operator==(const AdminReply&, const AdminReply&) = default;
};

// ---- Envelope

// An error is an answer too. The code is absl::StatusCode's.
struct ErrorReply {
  int32_t code = 0;
  std::string message;

  static ErrorReply From(const absl::Status& status) {
    return {static_cast<int32_t>(status.raw_code()), std::string(status.message())};
  }
  absl::Status ToStatus() const {
    return absl::Status(static_cast<absl::StatusCode>(code), message);
  }
  friend bool operator==(const ErrorReply&, const ErrorReply&) = default;
};

using Request = std::variant<HelloRequest, RegisterModelRequest, FindRequest, LeaseRequest,
                             ReleaseRequest, ReadRequest, ReserveRequest, WriteRequest,
                             CommitRequest, AbortRequest, LinkRequest, AdminRequest>;
using Reply = std::variant<ErrorReply, HelloReply, RegisterModelReply, FindReply, LeaseReply,
                           ReleaseReply, ReadReply, ReserveReply, WriteReply, CommitReply,
                           AbortReply, LinkReply, AdminReply>;

}  // namespace cistern::transport
