// Calls and payloads over UCX, within one process over loopback: what goes, how fast it fails.
#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/mutex.h"
#include "tests/integration/ucx_test_service.h"
#include "transport/checksum.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class UcxTransportTest : public ::testing::Test {
 protected:
  void SetUp() override { StartNode({}); }

  void StartNode(ServerOptions options) {
    link_.reset();
    server_.reset();
    service_ = std::make_unique<UcxTestService>();
    options.ucx_address = "127.0.0.1:0";
    options.node_name = "ucx-node";
    options.incarnation = 77;
    auto server = StartServer(options, service_.get());
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    auto link = Connect(server_->ucx_address(), {.client_name = "test"});
    ASSERT_TRUE(link.ok()) << link.status();
    link_ = *std::move(link);
  }

  void TearDown() override {
    link_.reset();
    if (server_ == nullptr) return;
    EXPECT_TRUE(Await([&] { return service_->closed() == service_->opened(); }));
    server_.reset();
    EXPECT_EQ(service_->closed(), service_->opened());
  }

  std::unique_ptr<Buffer> Allocate(uint64_t bytes) {
    auto buffer = link_->Allocate(std::max<uint64_t>(bytes, 1));
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    return *std::move(buffer);
  }

  // Reads `bytes` in `pieces` at both ends and compares.
  absl::Status Fetch(uint64_t bytes, uint64_t offset, uint64_t pieces, uint64_t flags = 0,
                     absl::Duration deadline = absl::Seconds(60)) {
    auto buffer = Allocate(PiecesSpan(bytes, pieces));
    memset(buffer->bytes().data(), 0, buffer->bytes().size());
    const std::vector<MutableSlice> into = BufferPieces(buffer->bytes(), bytes, pieces);
    auto reply = CallFor<ReadReply>(*link_, ReadRequest{.leases = {bytes, offset, pieces, flags}},
                                    {.deadline = deadline, .receive = into});
    if (!reply.ok()) return reply.status();
    const std::vector<Slice> expected = PatternPieces(bytes, offset, pieces);
    for (size_t i = 0; i < into.size(); ++i) {
      if (memcmp(into[i].data(), expected[i].data(), into[i].size()) != 0) {
        return absl::InternalError(absl::StrCat("piece ", i, " differs"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Publish(uint64_t bytes, uint64_t offset, uint64_t pieces, uint64_t flags = 0,
                       absl::Duration deadline = absl::Seconds(60), size_t words = 4) {
    auto buffer = Allocate(PiecesSpan(bytes, pieces));
    const std::vector<MutableSlice> from = BufferPieces(buffer->bytes(), bytes, pieces);
    const std::vector<Slice> pattern = PatternPieces(bytes, offset, pieces);
    for (size_t i = 0; i < from.size(); ++i) {
      memcpy(from[i].data(), pattern[i].data(), from[i].size());
    }
    WriteRequest request;
    request.reservations = {bytes, offset, pieces, flags};
    request.reservations.resize(words);
    request.checksum = PayloadChecksum(from);
    CallOptions options;
    options.deadline = deadline;
    options.send.assign(from.begin(), from.end());
    return CallFor<WriteReply>(*link_, request, std::move(options)).status();
  }

  absl::Status Ping() {
    return CallFor<AdminReply>(*link_, AdminRequest{.model_name = "ping"}).status();
  }

  std::unique_ptr<UcxTestService> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Link> link_;
};

TEST_F(UcxTransportTest, SaysHelloAndBothSidesKnowEachOther) {
  EXPECT_EQ(link_->node().node_name, "ucx-node");
  EXPECT_EQ(link_->node().incarnation, 77u);
  EXPECT_EQ(link_->arena(), nullptr);
  EXPECT_TRUE(link_->alive());
  EXPECT_EQ(server_->stats().sessions_open, 1u);
  EXPECT_THAT(service_->last_peer(), StartsWith("ucx 127.0.0.1:"));
  EXPECT_TRUE(Ping().ok());
}

TEST_F(UcxTransportTest, LargePayloadsComeInPiecesOverTcp) {
  const char* said = getenv("CISTERN_UCX_PAYLOADS");
  const bool pieces = said == nullptr || std::string(said) == "pieces";
  EXPECT_EQ(link_->checks(1 << 20), pieces);
  EXPECT_FALSE(link_->checks(1 << 10));
}

// Around the borders: empty, one byte, what fits in a segment, eager and rendezvous, several
// segments, 64 MiB; whole and in pieces; answered on the lane and from another thread.
TEST_F(UcxTransportTest, PayloadsOfAllSizesArriveAsTheyWere) {
  const uint64_t kSizes[] = {0,      1,      63,     4096,    8191,    65536,    100001,
                             262143, 262144, 262145, 1 << 20, 4 << 20, 17000003, 64 << 20};
  for (const uint64_t bytes : kSizes) {
    for (const uint64_t pieces : {1, 7}) {
      for (const uint64_t flags : {uint64_t{0}, kFromOtherThread}) {
        if (bytes > (4 << 20) && flags != 0) continue;
        SCOPED_TRACE(absl::StrCat(bytes, " bytes, ", pieces, " pieces, flags ", flags));
        EXPECT_TRUE(Fetch(bytes, 4096, pieces, flags).ok());
        EXPECT_TRUE(Publish(bytes, 8192, pieces, flags).ok());
      }
    }
  }
  EXPECT_EQ(server_->stats().bad_messages, 0u);
  EXPECT_TRUE(Await([&] { return service_->sent() == service_->replies(); }));
}

TEST_F(UcxTransportTest, ThousandsOfPiecesInOnePayload) {
  EXPECT_TRUE(Fetch(64 << 20, 0, 3640).ok());
  EXPECT_TRUE(Publish(16 << 20, 0, 910).ok());
  EXPECT_TRUE(Fetch(200000, 0, 1000).ok());  // eager
}

// Messages too long for an active message's header travel as data: eagerly, then by rendezvous.
TEST_F(UcxTransportTest, LongMessagesGoBothWays) {
  for (const uint32_t items : {64u, 300u, 5000u, kMaxItems}) {
    FindRequest request;
    request.items.resize(items);
    for (uint32_t i = 0; i < items; ++i) request.items[i].accept_content = i % 3 == 0;
    auto reply = CallFor<FindReply>(*link_, request);
    ASSERT_TRUE(reply.ok()) << items << ": " << reply.status();
    ASSERT_EQ(reply->results.size(), items);
    for (uint32_t i = 0; i < items; ++i) {
      ASSERT_EQ(reply->results[i].match == Match::kContent, i % 3 == 0);
    }
  }
}

TEST_F(UcxTransportTest, LongMessagesBringTheirPayloads) {
  for (const size_t words : {2000, 16000}) {  // a header is too small for either
    EXPECT_TRUE(Publish(1000, 0, 1, 0, absl::Seconds(60), words).ok());
    EXPECT_TRUE(Publish(3 << 20, 64, 5, 0, absl::Seconds(60), words).ok());
    EXPECT_TRUE(Publish(3 << 20, 64, 5, kFromOtherThread, absl::Seconds(60), words).ok());
  }
}

TEST_F(UcxTransportTest, ManyCallsInFlightFromManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kCalls = 60;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        const uint64_t bytes = (uint64_t{1} << (4 + (i * 7 + t) % 18)) + i;
        const uint64_t flags = i % 2 == 0 ? kFromOtherThread : 0;
        const absl::Status status = i % 3 == 0 ? Publish(bytes, 8 * i, 1 + i % 5, flags)
                                               : Fetch(bytes, 8 * i, 1 + i % 5, flags);
        if (!status.ok()) {
          ++wrong;
          ADD_FAILURE() << status;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(link_->alive());
}

TEST_F(UcxTransportTest, SeveralLinksAreSpreadOverTheLanes) {
  std::vector<std::unique_ptr<Link>> links;
  for (int i = 0; i < 12; ++i) {
    auto link = Connect(server_->ucx_address(), {.client_name = absl::StrCat("link ", i)});
    ASSERT_TRUE(link.ok()) << link.status();
    links.push_back(*std::move(link));
  }
  EXPECT_EQ(server_->stats().sessions_open, 13u);
  for (auto& link : links) {
    EXPECT_TRUE(CallFor<AdminReply>(*link, AdminRequest{.model_name = "ping"}).ok());
  }
  links.clear();
  EXPECT_TRUE(Await([&] { return service_->closed() == 12; }));
  EXPECT_TRUE(Ping().ok());
}

TEST_F(UcxTransportTest, BuffersAreUsedAgain) {
  std::byte* first = Allocate(1 << 20)->bytes().data();
  EXPECT_EQ(Allocate(1000000)->bytes().data(), first);
  EXPECT_FALSE(link_->Allocate(0).ok());
  auto buffer = Allocate(5000);
  link_.reset();
  memset(buffer->bytes().data(), 1, buffer->bytes().size());  // still its owner's
}

TEST_F(UcxTransportTest, DamagedPayloadIsDataLoss) {
  for (const uint64_t bytes : {uint64_t{5000}, uint64_t{2 << 20}}) {
    EXPECT_TRUE(absl::IsDataLoss(Fetch(bytes, 0, 1, kWrongChecksum)));
  }
  EXPECT_TRUE(Ping().ok());
}

TEST_F(UcxTransportTest, PayloadOfAnotherSizeIsRefused) {
  auto buffer = Allocate(4096);
  auto reply = CallFor<ReadReply>(*link_, ReadRequest{.leases = {1000, 0, 1}},
                                  {.receive = {buffer->bytes()}});
  EXPECT_TRUE(absl::IsInvalidArgument(reply.status())) << reply.status();
  EXPECT_TRUE(Ping().ok());
}

// The node answers with an error and leaves the payload with its sender: the buffer is free when
// the call completes.
TEST_F(UcxTransportTest, PayloadThatNobodyTakesIsGivenBack) {
  for (const uint64_t bytes : {uint64_t{100}, uint64_t{100000}, uint64_t{8 << 20}}) {
    for (const uint64_t flags : {kTakesNothing, kTakesNothing | kFromOtherThread}) {
      const absl::Status status = Publish(bytes, 0, 1, flags);
      EXPECT_TRUE(absl::IsFailedPrecondition(status)) << bytes << ": " << status;
    }
  }
  EXPECT_TRUE(Ping().ok());
}

// The node has answered and keeps the call: the sender takes the payload back when its time is up,
// and the link lives on.
TEST_F(UcxTransportTest, APayloadThatIsKeptWaitingIsTakenBack) {
  if (!link_->checks(8 << 20)) GTEST_SKIP() << "a rendezvous cannot be taken back";
  const absl::Time start = absl::Now();
  const absl::Status status =
      Publish(8 << 20, 0, 1, kTakesNothing | kKeepsTheCall, absl::Milliseconds(300));
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(299));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  EXPECT_TRUE(link_->alive());
  EXPECT_TRUE(Publish(8 << 20, 0, 1).ok());
  service_->DropSilent();
  EXPECT_TRUE(Fetch(8 << 20, 0, 1).ok());
  EXPECT_EQ(service_->opened(), 1u);
}

TEST_F(UcxTransportTest, DroppedCallIsInternal) {
  auto reply = CallFor<AdminReply>(*link_, AdminRequest{.model_name = "drop"});
  EXPECT_TRUE(absl::IsInternal(reply.status())) << reply.status();
}

TEST_F(UcxTransportTest, SilentServiceCostsOneDeadline) {
  const absl::Time start = absl::Now();
  auto reply = CallFor<AdminReply>(*link_, AdminRequest{.model_name = "silent"},
                                   {.deadline = absl::Milliseconds(200)});
  const absl::Duration took = absl::Now() - start;
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status())) << reply.status();
  EXPECT_GE(took, absl::Milliseconds(199));
  EXPECT_LT(took, absl::Seconds(3));
  EXPECT_TRUE(Ping().ok());  // the link is none the worse
}

TEST_F(UcxTransportTest, LateReplyFindsNobody) {
  auto reply = CallFor<AdminReply>(*link_, AdminRequest{.model_name = "silent"},
                                   {.deadline = absl::Milliseconds(50)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(reply.status()));
  service_->DropSilent();  // answers now
  EXPECT_TRUE(Ping().ok());
}

TEST_F(UcxTransportTest, ClosingTheLinkCancelsWhatWaits) {
  base::Mutex mutex;
  absl::Status status;
  bool done = false;
  link_->Call(AdminRequest{.model_name = "silent"}, {}, [&](absl::StatusOr<Reply> reply) {
    base::MutexLock lock(&mutex);
    status = reply.status();
    done = true;
  });
  ASSERT_TRUE(Ping().ok());
  link_.reset();
  base::MutexLock lock(&mutex);
  EXPECT_TRUE(done);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(UcxTransportTest, ClosingTheLinkWhileBytesMoveEndsBothSides) {
  for (int round = 0; round < 10; ++round) {
    auto link = Connect(server_->ucx_address(), {});
    ASSERT_TRUE(link.ok());
    auto buffer = (*link)->Allocate(32 << 20);
    ASSERT_TRUE(buffer.ok());
    memcpy((*buffer)->bytes().data(), Pattern().data(), 32 << 20);
    std::atomic<int> ended{0};
    const uint64_t bytes = 32 << 20;
    (*link)->Call(ReadRequest{.leases = {bytes / 2, 0, 1}},
                  {.receive = {(*buffer)->bytes().subspan(bytes / 2)}},
                  [&](absl::StatusOr<Reply>) { ++ended; });
    (*link)->Call(WriteRequest{.reservations = {bytes / 2, 0, 1}},
                  {.send = {(*buffer)->bytes().first(bytes / 2)}},
                  [&](absl::StatusOr<Reply>) { ++ended; });
    std::this_thread::sleep_for(std::chrono::milliseconds(round));  // at another place each time
    link->reset();
    EXPECT_EQ(ended, 2);
  }
  EXPECT_TRUE(Await([&] { return service_->closed() == 10; }));
  EXPECT_TRUE(Await([&] { return service_->sent() == service_->replies(); }));
  EXPECT_TRUE(Ping().ok());
}

TEST_F(UcxTransportTest, StoppingTheNodeFailsWhatWaits) {
  std::atomic<int> code{-1};
  link_->Call(AdminRequest{.model_name = "silent"}, {.deadline = absl::Seconds(30)},
              [&](absl::StatusOr<Reply> reply) { code = static_cast<int>(reply.status().code()); });
  ASSERT_TRUE(Ping().ok());
  const absl::Time start = absl::Now();
  server_->Stop();
  server_->Stop();
  EXPECT_TRUE(Await([&] { return code >= 0; }));
  EXPECT_EQ(code, static_cast<int>(absl::StatusCode::kUnavailable));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
  EXPECT_EQ(service_->closed(), 1u);
  EXPECT_TRUE(Await([&] { return !link_->alive(); }));
  EXPECT_TRUE(absl::IsUnavailable(Ping()));
  service_->DropSilent();  // a reply to a session that is gone
}

TEST_F(UcxTransportTest, TooManyCallsInFlightAreRefused) {
  auto link = Connect(server_->ucx_address(), {.max_in_flight = 3});
  ASSERT_TRUE(link.ok());
  std::atomic<int> cancelled{0};
  for (int i = 0; i < 3; ++i) {
    (*link)->Call(AdminRequest{.model_name = "silent"}, {},
                  [&](absl::StatusOr<Reply> r) { cancelled += absl::IsCancelled(r.status()); });
  }
  auto refused = CallFor<AdminReply>(**link, AdminRequest{.model_name = "ping"});
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  link->reset();
  EXPECT_EQ(cancelled, 3);
}

TEST_F(UcxTransportTest, TheNodeHasRoomForSoManySessions) {
  StartNode({.max_sessions = 1});
  auto second = Connect(server_->ucx_address(), {});
  EXPECT_TRUE(absl::IsResourceExhausted(second.status())) << second.status();
  link_.reset();
  EXPECT_TRUE(Await([&] { return server_->stats().sessions_open == 0; }));
  EXPECT_TRUE(Connect(server_->ucx_address(), {}).ok());
}

TEST_F(UcxTransportTest, PortInUseIsSaidSo) {
  UcxTestService other;
  auto server = StartServer({.ucx_address = server_->ucx_address()}, &other);
  EXPECT_TRUE(absl::IsAlreadyExists(server.status())) << server.status();
}

TEST_F(UcxTransportTest, APortIsFreeAgainAfterStop) {
  const std::string address = server_->ucx_address();
  server_->Stop();
  UcxTestService other;
  auto server = StartServer({.ucx_address = address}, &other);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ((*server)->ucx_address(), address);
  EXPECT_TRUE(Connect(address, {}).ok());
}

TEST_F(UcxTransportTest, BadAddressesAreSaidSo) {
  for (const char* address : {"host:", ":1", "127.0.0.1:0", "127.0.0.1:70000", "::1:4"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(Connect(address, {}).status())) << address;
  }
  UcxTestService other;
  EXPECT_TRUE(absl::IsInvalidArgument(StartServer({.ucx_address = "127.0.0.1"}, &other).status()));
  const absl::Status elsewhere = StartServer({.ucx_address = "203.0.113.7:0"}, &other).status();
  EXPECT_TRUE(absl::IsUnavailable(elsewhere)) << elsewhere;
}

// A socket that nobody uses any more gives a port where nobody listens.
TEST_F(UcxTransportTest, NobodyThereIsUnavailableInTime) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const std::string where = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));

  const absl::Time start = absl::Now();
  auto refused = Connect(where, {.connect_timeout = absl::Seconds(5)});
  EXPECT_TRUE(absl::IsUnavailable(refused.status())) << refused.status();
  EXPECT_LT(absl::Now() - start, absl::Seconds(2));

  ASSERT_EQ(listen(fd, 4), 0);  // somebody listens, who never says a word
  const absl::Time silent_start = absl::Now();
  auto silent = Connect(where, {.connect_timeout = absl::Milliseconds(300)});
  EXPECT_TRUE(absl::IsUnavailable(silent.status())) << silent.status();
  EXPECT_LT(absl::Now() - silent_start, absl::Seconds(5));
  close(fd);
}

TEST_F(UcxTransportTest, NamesAreAddressesToo) {
  for (const char* listen : {"localhost:0", "*:0"}) {
    UcxTestService other;
    auto server = StartServer({.ucx_address = listen}, &other);
    ASSERT_TRUE(server.ok()) << listen << ": " << server.status();
    const std::string bound = (*server)->ucx_address();
    auto link = Connect("localhost" + bound.substr(bound.rfind(':')), {});
    EXPECT_TRUE(link.ok()) << bound << ": " << link.status();
  }
  // Longer than a name can be, so that no resolver is asked.
  const absl::Status unknown = Connect(std::string(70, 'a') + ":1", {}).status();
  EXPECT_TRUE(absl::IsUnavailable(unknown)) << unknown;
}

// An address of this machine that is not for this machine only; bytes to it stay on the host.
std::string GlobalIpv6() {
  std::string found;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET6) continue;
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr)->sin6_addr;
    if (IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_LINKLOCAL(&address)) continue;
    char text[INET6_ADDRSTRLEN];
    found = inet_ntop(AF_INET6, &address, text, sizeof(text));
  }
  freeifaddrs(all);
  return found;
}

TEST_F(UcxTransportTest, Ipv6) {
  const std::string host = GlobalIpv6();
  if (host.empty()) GTEST_SKIP() << "this machine has no IPv6 address that UCX can use";
  UcxTestService other;
  auto server = StartServer({.ucx_address = absl::StrCat("[", host, "]:0")}, &other);
  ASSERT_TRUE(server.ok()) << server.status();
  auto link = Connect((*server)->ucx_address(), {});
  ASSERT_TRUE(link.ok()) << link.status();
  link_ = *std::move(link);
  EXPECT_TRUE(Fetch(2 << 20, 0, 3).ok());
  EXPECT_TRUE(Publish(2 << 20, 0, 3).ok());
  link_.reset();
}

TEST_F(UcxTransportTest, IdleLinkAndNodeUseNoCpu) {
  ASSERT_TRUE(Ping().ok());
  rusage before;
  rusage after;
  ASSERT_EQ(getrusage(RUSAGE_SELF, &before), 0);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  ASSERT_EQ(getrusage(RUSAGE_SELF, &after), 0);
  const auto seconds = [](const rusage& usage) {
    return usage.ru_utime.tv_sec + usage.ru_utime.tv_usec * 1e-6 + usage.ru_stime.tv_sec +
           usage.ru_stime.tv_usec * 1e-6;
  };
  RecordProperty("cpu_ms", static_cast<int>((seconds(after) - seconds(before)) * 1000));
  EXPECT_LT(seconds(after) - seconds(before), 0.2);
}

}  // namespace
}  // namespace cistern::transport
