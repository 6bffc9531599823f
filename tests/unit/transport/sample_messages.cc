#include "tests/unit/transport/sample_messages.h"

#include <limits>

namespace cistern::transport {
namespace {

constexpr uint64_t kBig = std::numeric_limits<uint64_t>::max();

std::vector<base::BlockRef> Blocks() { return {{1, 2, 3}, {0xffffffff, 0xfffffffe, kBig}}; }

void AddObject(ObjectId id, const base::ObjectHeader& header, Where where, LeaseId lease,
               FindReply* reply) {
  ObjectRef& object = reply->Add(id, header, header.tokens);
  object.where = where;
  object.lease = lease;
  if (lease != 0) reply->AddBlocks(Blocks());
}

}  // namespace

base::ObjectHeader SampleSegment(uint32_t num_tokens) {
  base::ObjectHeader header;
  header.kind = base::ObjectKind::kSegment;
  header.model = {1, 2};
  header.tenant = 3;
  header.content = {4, 5};
  header.context = {6, 7};
  header.parent_context = {8, 9};
  header.base_position = 10;
  header.encoding = base::RotaryEncoding::kRotated;
  header.arithmetic = base::RotaryArithmetic::kBf16PerOp;
  header.lineage = base::Lineage::kApproximate;
  for (uint32_t i = 0; i < num_tokens; ++i) header.tokens.push_back(0xfffffff0 - 7 * i);
  return header;
}

base::ObjectHeader SampleBlob() {
  base::ObjectHeader header;
  header.kind = base::ObjectKind::kBlob;
  header.content = {kBig, 1};
  header.blob_bytes = base::ObjectHeader::kMaxBlobBytes;
  return header;
}

base::ObjectHeader SampleState(base::ObjectKind kind) {
  base::ObjectHeader header;
  header.kind = kind;
  header.model = {1, 2};
  header.tenant = 3;
  header.context = {kBig, 7};
  header.parent_context = {8, kBig};
  header.content = base::StateKey(kind, header.context, header.parent_context);
  header.previous_state = header.parent_context;
  header.base_position = 10;
  header.tokens = {1, 0xffffffff};
  if (kind == base::ObjectKind::kLog) header.tails = base::LogTails::kEveryToken;
  return header;
}

std::vector<Request> SampleRequests() {
  FindRequest find{.model = {1, 2},
                   .start_context = {3, 4},
                   .lease = false,
                   .lossless = true,
                   .neighbours = false,
                   .states = true};
  for (uint64_t i = 0; i < 64; ++i) find.items.push_back({{i, kBig - i}, {kBig, i}, i % 2 == 0});
  find.release = {kBig, 2};
  AdminRequest admin{.verb = AdminVerb::kFlush,
                     .key = {1, 2},
                     .model = {3, 4},
                     .model_name = "a model",
                     .tenant = 5,
                     .has_tenant = true,
                     .all = true,
                     .limit = 6,
                     .cursor = kBig};
  return {
      HelloRequest{},
      HelloRequest{.version = 77, .client_name = "worker \xc3\xa4", .want_mapping = false},
      RegisterModelRequest{},
      RegisterModelRequest{.spec_json = R"({"name": "m"})"},
      FindRequest{},
      find,
      LeaseRequest{},
      LeaseRequest{.objects = {1, kBig, 3}},
      ReleaseRequest{},
      ReleaseRequest{.leases = {kBig}},
      ReadRequest{},
      ReadRequest{.leases = {1, 2}, .layer_begin = 3, .layer_end = 4},
      ReserveRequest{},
      ReserveRequest{.headers = {SampleSegment(1), SampleBlob(),
                                 SampleSegment(base::ObjectHeader::kMaxTokens)}},
      ReserveRequest{.headers = {SampleState(base::ObjectKind::kCheckpoint),
                                 SampleState(base::ObjectKind::kLog)}},
      ReserveRequest{.headers = {SampleSegment(1)},
                     .payload_headers = 1,
                     .layer_end = 2,
                     .checksum = kBig,
                     .commit = true},
      WriteRequest{},
      WriteRequest{.reservations = {5}, .layer_begin = 1, .layer_end = 2, .checksum = kBig},
      CommitRequest{},
      CommitRequest{.reservations = {1, 2, 3}},
      AbortRequest{},
      AbortRequest{.reservations = {9}},
      LinkRequest{},
      LinkRequest{.items = {{1, {2, 3}, {4, 5}}, {kBig, {6, 7}, {8, 9}}}},
      AdminRequest{},
      admin,
  };
}

std::vector<Reply> SampleReplies() {
  FindReply find;
  AddObject(1, SampleSegment(), Where::kMemory, 2, &find);
  AddObject(kBig, SampleBlob(), Where::kDisk, 0, &find);
  find.results = {{Where::kMemory, Match::kContent, base::Lineage::kApproximate, 1},
                  {Where::kDisk, Match::kExact, base::Lineage::kExact, 0},
                  {}};
  find.neighbours = {{-1, false, Match::kContent, base::Lineage::kApproximate, 1},
                     {2, true, Match::kExact, base::Lineage::kExact, 0}};
  FindReply states;
  AddObject(1, SampleState(base::ObjectKind::kCheckpoint), Where::kMemory, 2, &states);
  AddObject(2, SampleState(base::ObjectKind::kLog), Where::kDisk, 0, &states);
  states.states = {1, 0};
  return {
      ErrorReply{.code = 5, .message = "no such thing"},
      HelloReply{},
      HelloReply{.version = 9,
                 .node_name = "node",
                 .incarnation = kBig,
                 .arena_bytes = 4096,
                 .blob_block_bytes = kBig},
      RegisterModelReply{},
      RegisterModelReply{.fingerprint = {kBig, 1}},
      FindReply{},
      find,
      states,
      LeaseReply{},
      LeaseReply{.results = {{LeaseOutcome::kLeased, true, 7, Blocks()},
                             {LeaseOutcome::kNoRoom, false, 0, {}}}},
      ReleaseReply{},
      ReadReply{},
      ReadReply{.payload_bytes = kBig, .checksum = 1},
      ReserveReply{},
      ReserveReply{.results = {{ReserveOutcome::kReserved, 1}, {ReserveOutcome::kTooLarge, kBig}}},
      ReserveReply{.results = {{ReserveOutcome::kReserved, 1}}, .written = true, .committed = 1},
      WriteReply{},
      WriteReply{.committed = 7},
      CommitReply{.committed = 3},
      AbortReply{},
      LinkReply{.linked = 0xffffffff},
      AdminReply{.json = "{}"},
  };
}

}  // namespace cistern::transport
