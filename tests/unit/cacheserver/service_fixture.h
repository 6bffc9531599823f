// A whole node behind its Service interface, without a transport: real store and threads, a clock
// that tests turn, a disk in memory that fails on request.
//
// The model: 2 layers of 32-byte opaque rows, so a page of 16 tokens has 1 KiB.
#pragma once

#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "base/key.h"
#include "cacheserver/service/node_service.h"
#include "cacheserver/store_options.h"
#include "tests/fault/faulty_disk.h"
#include "tests/unit/cacheserver/fake_call.h"
#include "tests/unit/cacheserver/memory_disk.h"
#include "transport/checksum.h"

namespace cistern::cacheserver {

inline constexpr uint64_t kPageBytes = 1024;
inline constexpr transport::SessionId kSession = 1;
inline constexpr transport::SessionId kOther = 2;

struct WorldOptions {
  uint64_t pool_bytes = 64 * kPageBytes;
  uint64_t host_bytes = 0;  // below pool_bytes, which are then a device's
  bool disk = true;
  NodeConfig config;
};

class ServiceWorld {
 public:
  explicit ServiceWorld(WorldOptions options = {})
      : config_(options.config),
        sessions_({.leases = options.config.max_leases_per_session,
                   .reservations = options.config.max_reservations_per_session}) {
    arena_ = MakeArena(options.pool_bytes);
    storage::StoreOptions store_options = StoreOptionsOf(config_);
    store_options.has_disk = options.disk || options.host_bytes > 0;
    store_options.blob_block_bytes = kPageBytes;
    store_ = std::make_unique<LockedStore>(store_options, arena_.get());
    room_ = std::make_unique<RoomQueue>(&clock_, 1024);
    copy_pool_ = std::make_unique<WorkPool>("copy", 2, 1024);
    if (options.disk) MakeDisk();
    if (options.host_bytes > 0) MakeHost(options.host_bytes);
    if (disk_ != nullptr || host_ != nullptr) MakeTiers();
    service_ = std::make_unique<NodeService>(MakeParts());
    model_.name = "test/model";
    model_.num_layers = 2;
    model_.layout = base::RowLayout::kOpaque;
    model_.row_bytes = 32;
    Open(kSession);
    Open(kOther);
  }

  ~ServiceWorld() {
    service_->Drain(absl::Seconds(0));
    room_->Stop();
    copy_pool_->Stop();
    if (disk_pool_ != nullptr) disk_pool_->Stop();
    if (host_ != nullptr) host_->StopWaiting();
    if (demoter_ != nullptr) demoter_->Stop();
    if (host_ != nullptr) host_->Stop();
    EXPECT_TRUE(service_->Drain(absl::Seconds(30))) << "calls are still in progress";
    const auto check = [](storage::Store& store) {
      EXPECT_TRUE(store.CheckInvariants().ok()) << store.CheckInvariants();
    };
    store_->With(check);
    if (host_ != nullptr) host_->store().With(check);
  }

  // ---- Calls
  void Open(transport::SessionId session, const std::string& peer = "unix pid 1 uid 0") {
    service_->OnOpen(session, {.client_name = "test", .peer = peer});
  }
  FakeCallOptions Options(transport::SessionId session = kSession) const {
    FakeCallOptions options;
    options.session = session;
    options.deadline = clock_.Now() + absl::Seconds(5);
    return options;
  }
  std::shared_ptr<CallResult> Send(transport::Request request, FakeCallOptions options) {
    auto call = std::make_unique<FakeCall>(std::move(request), std::move(options));
    last_payload_ = call->payload();
    auto result = call->result();
    service_->OnCall(std::move(call));
    return result;
  }
  std::shared_ptr<CallResult> Send(transport::Request request,
                                   transport::SessionId session = kSession) {
    return Send(std::move(request), Options(session));
  }
  std::shared_ptr<FakePayload> last_payload() const { return last_payload_; }

  // ---- Whole steps
  base::Key Register() {
    return Send(transport::RegisterModelRequest{model_.ToJson()})
        ->WaitFor<transport::RegisterModelReply>()
        .fingerprint;
  }
  // `text` says which tokens, `parent` what came before; `tokens` of them.
  base::ObjectHeader Segment(uint32_t text, uint32_t tokens = 16,
                             const base::ObjectHeader* parent = nullptr,
                             const std::string& salt = "") const {
    const base::KeySpace keys(model_.Fingerprint(), salt);
    base::ObjectHeader header;
    header.tenant = keys.tenant();
    header.model = model_.Fingerprint();
    for (uint32_t i = 0; i < tokens; ++i) header.tokens.push_back(text * 10000 + i);
    header.content = keys.Content(header.tokens);
    header.parent_context = parent == nullptr ? keys.ContextSeed() : parent->context;
    header.context = base::KeySpace::Context(header.parent_context, header.content);
    header.base_position = parent == nullptr ? 0 : parent->base_position + parent->num_tokens();
    return header;
  }
  static base::ObjectHeader Blob(uint32_t name, uint64_t bytes) {
    base::ObjectHeader header;
    header.kind = base::ObjectKind::kBlob;
    header.content = base::HashBytes(absl::StrCat("blob ", name));
    header.blob_bytes = bytes;
    return header;
  }
  // The rows of `layers` of a segment, in a payload's order.
  std::vector<std::byte> Rows(const base::ObjectHeader& header, uint32_t begin,
                              uint32_t end) const {
    std::vector<std::byte> rows;
    for (uint32_t layer = begin; layer < end; ++layer) {
      for (const base::TokenId token : header.tokens) {
        for (uint32_t i = 0; i < model_.row_bytes; ++i)
          rows.push_back(static_cast<std::byte>(token * 7 + layer * 131 + i));
      }
    }
    return rows;
  }
  transport::ReservationId Reserve(const base::ObjectHeader& header,
                                   transport::SessionId session = kSession) {
    const auto reply =
        Send(transport::ReserveRequest{{header}}, session)->WaitFor<transport::ReserveReply>();
    EXPECT_EQ(reply.results.at(0).outcome, transport::ReserveOutcome::kReserved);
    return reply.results.at(0).reservation;
  }
  std::shared_ptr<CallResult> Write(transport::ReservationId id, const std::vector<std::byte>& rows,
                                    uint32_t begin, uint32_t end,
                                    transport::SessionId session = kSession) {
    FakeCallOptions options = Options(session);
    options.payload = rows;
    const std::vector<transport::Slice> slices = {rows};
    return Send(transport::WriteRequest{{id}, begin, end, transport::PayloadChecksum(slices)},
                std::move(options));
  }
  void Publish(const base::ObjectHeader& header, transport::SessionId session = kSession) {
    const auto id = Reserve(header, session);
    EXPECT_TRUE(Write(id, Rows(header, 0, 2), 0, 2, session)->WaitStatus().ok());
    EXPECT_EQ(
        Send(transport::CommitRequest{{id}}, session)->WaitFor<transport::CommitReply>().committed,
        1u);
  }
  transport::FindReply Find(const std::vector<base::ObjectHeader>& headers, bool lease = false,
                            bool accept_content = false, transport::SessionId session = kSession) {
    transport::FindRequest request;
    request.model = model_.Fingerprint();
    request.start_context = base::KeySpace(request.model, "").ContextSeed();
    request.lease = lease;
    for (const base::ObjectHeader& header : headers)
      request.items.push_back({header.content, header.context, accept_content});
    return Send(request, session)->WaitFor<transport::FindReply>();
  }
  transport::ObjectId IdOf(const base::ObjectHeader& header) {
    const transport::FindReply found = Find({header});
    EXPECT_NE(found.results.at(0).where, transport::Where::kMiss);
    return found.objects.empty() ? 0 : found.objects.at(0).id;
  }
  transport::Where WhereIs(const base::ObjectHeader& header) {
    return Find({header}).results.at(0).where;
  }
  transport::LeaseId Lease(const base::ObjectHeader& header,
                           transport::SessionId session = kSession) {
    const auto reply =
        Send(transport::LeaseRequest{{IdOf(header)}}, session)->WaitFor<transport::LeaseReply>();
    EXPECT_EQ(reply.results.at(0).outcome, transport::LeaseOutcome::kLeased);
    return reply.results.at(0).lease;
  }
  // Everything to disk, and out of memory.
  void MoveToDisk(const std::vector<base::ObjectHeader>& headers) {
    EXPECT_TRUE(
        Send(transport::AdminRequest{.verb = transport::AdminVerb::kFlush})->WaitStatus().ok());
    // Other objects take the memory, then go.
    FillMemory();
    for (const base::ObjectHeader& header : headers)
      EXPECT_EQ(WhereIs(header), transport::Where::kDisk);
  }
  // A reservation of all of memory, then its end: what was evictable has been evicted.
  void FillMemory() {
    const base::ObjectHeader all = Blob(999, arena_->slab_bytes_total());
    const auto id = Reserve(all);
    EXPECT_TRUE(Send(transport::AbortRequest{{id}})->WaitStatus().ok());
  }
  // Leases it, wherever it lies, and compares every byte.
  void ExpectServed(const base::ObjectHeader& header) {
    const transport::LeaseId lease = Lease(header);
    const auto read = Send(transport::ReadRequest{{lease}, 0, 2});
    EXPECT_TRUE(read->WaitStatus().ok()) << read->WaitStatus();
    EXPECT_EQ(read->Payload(), Rows(header, 0, 2));
    Send(transport::ReleaseRequest{{lease}})->Wait();
  }
  storage::StoreStats Stats() {
    return store_->With([](storage::Store& store) { return store.Stats(); });
  }
  uint64_t Errors(size_t kind, absl::StatusCode code) const { return counters_.errors(kind, code); }

  NodeConfig config_;
  base::ManualClock clock_;
  std::ostringstream log_text_;
  Log log_{"debug", LogFormat::kText, &log_text_};
  Counters counters_;
  base::ModelSpec model_;
  MemoryDisk* memory_disk_ = nullptr;
  std::unique_ptr<storage::FaultyDisk> disk_;
  std::unique_ptr<HostLevel> host_;
  std::unique_ptr<storage::Arena> arena_;
  std::unique_ptr<LockedStore> store_;
  Sessions sessions_;
  std::unique_ptr<RoomQueue> room_;
  std::unique_ptr<WorkPool> copy_pool_;
  std::unique_ptr<WorkPool> disk_pool_;
  std::unique_ptr<ModelBook> models_;
  std::unique_ptr<Demoter> demoter_;
  std::unique_ptr<Stager> stager_;
  std::unique_ptr<NodeService> service_;

 private:
  void MakeDisk() {
    auto memory = std::make_unique<MemoryDisk>();
    memory_disk_ = memory.get();
    disk_ = std::make_unique<storage::FaultyDisk>(std::move(memory));
  }
  static std::unique_ptr<storage::Arena> MakeArena(uint64_t bytes) {
    return storage::Arena::Create({.bytes = bytes,
                                   .max_handles = 4096,
                                   .incarnation = 7,
                                   .huge_pages = false,
                                   .pre_touch = false})
        .value();
  }
  void MakeHost(uint64_t bytes) {
    config_.demote_batch_bytes = 8 * kPageBytes;
    host_ = std::make_unique<HostLevel>(
        HostLevel::Parts{&config_, disk_.get(), &counters_, &log_, &clock_, kPageBytes},
        MakeArena(bytes));
    host_->Start();
  }
  storage::Tier* below() {
    return host_ == nullptr ? static_cast<storage::Tier*>(disk_.get()) : &host_->tier();
  }
  void MakeTiers() {
    disk_pool_ = std::make_unique<WorkPool>("disk", 2, 1024);
    models_ = std::make_unique<ModelBook>(below(), /*forgetful=*/host_ != nullptr);
    const auto room_came = [this] { room_->RoomCame(); };
    demoter_ =
        std::make_unique<Demoter>(DemoterOptions{.batch_bytes = 8 * kPageBytes,
                                                 .blob_block_bytes = kPageBytes,
                                                 .eager = config_.demote_eagerly},
                                  Demoter::Parts{store_.get(), arena_.get(), below(), models_.get(),
                                                 &counters_, &log_, &clock_, room_came});
    stager_ = std::make_unique<Stager>(
        Stager::Parts{store_.get(), arena_.get(), below(), disk_pool_.get(), &counters_, &log_,
                      kPageBytes, room_came, host_ == nullptr ? nullptr : copy_pool_.get()});
  }

  Parts MakeParts() {
    Parts parts;
    parts.config = &config_;
    parts.clock = &clock_;
    parts.log = &log_;
    parts.counters = &counters_;
    parts.store = store_.get();
    parts.sessions = &sessions_;
    parts.arena = arena_.get();
    parts.room = room_.get();
    parts.copy_pool = copy_pool_.get();
    parts.below = below();
    parts.host = host_.get();
    parts.disk = disk_.get();
    parts.models = models_.get();
    parts.disk_pool = disk_pool_.get();
    parts.demoter = demoter_.get();
    parts.stager = stager_.get();
    parts.blob_block_bytes = kPageBytes;
    parts.facts = [this] { return NodeFacts{.incarnation = 7, .started = clock_.Now()}; };
    parts.server_stats = [] { return transport::ServerStats{}; };
    return parts;
  }

  std::shared_ptr<FakePayload> last_payload_;
};

class ServiceTest : public testing::Test {
 protected:
  void Make(WorldOptions options = {}) {
    world_ = std::make_unique<ServiceWorld>(std::move(options));
    EXPECT_EQ(world_->Register(), world_->model_.Fingerprint());
  }
  ServiceWorld& node() { return *world_; }

 private:
  std::unique_ptr<ServiceWorld> world_;
};

}  // namespace cistern::cacheserver
