// Payloads, over UCX, of peers that were never ours: too many, too few, too slow, or nonsense.
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/integration/ucx_strangers.h"
#include "transport/checksum.h"
#include "transport/ucx/ucx_frame.h"

namespace cistern::transport {
namespace {

// Nobody else may be reading the environment.
class ByRendezvous {
 public:
  ByRendezvous() { setenv("CISTERN_UCX_PAYLOADS", "rendezvous", 1); }
  ~ByRendezvous() { unsetenv("CISTERN_UCX_PAYLOADS"); }
};

// 75 MiB in 300 payloads, whose messages never come.
TEST_F(StrangerTest, PayloadsWithoutMessagesAreBounded) {
  const std::string payload(256 << 10, 'x');
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  for (uint64_t tag = 1; tag <= 300; ++tag) {
    peer.Send(UcxFrameKind::kPayload, HeaderBytes(LateHeader{tag}), payload);
  }
  EXPECT_TRUE(Await([&] { return service_.closed() == 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 1u);
  ExpectServing();
}

// By rendezvous. It lives, says so all the time, and does not take one payload: that one is not
// kept for ever.
TEST_F(StrangerTest, WhoNeverTakesAPayloadIsClosed) {
  const ByRendezvous while_this_runs;
  RestartWith(/*transfer_timeout=*/absl::Milliseconds(200));
  RoguePeer peer(server_->ucx_address());
  peer.SayHello();
  peer.Send(EncodeRequest(
      {.call_id = 2, .deadline = absl::Seconds(30), .receive_bytes = uint64_t{1} << 20},
      ReadRequest{.leases = {1 << 20, 0, 1}}));
  ASSERT_TRUE(Await([&] { return service_.replies() == 1; }));
  uint64_t call_id = 3;
  EXPECT_TRUE(Await([&] {
    peer.Send(EncodeRequest({.call_id = call_id++, .deadline = absl::Seconds(5)},
                            AdminRequest{.model_name = "ping"}));
    return service_.closed() == 1;
  }));
  EXPECT_TRUE(Await([&] { return service_.sent() == 1; }));
  ExpectServing();
}

// It announces a payload, and is asked for it.
TEST_F(StrangerTest, WhoNeverSendsAPayloadIsClosed) {
  RestartWith(/*transfer_timeout=*/absl::Milliseconds(200));
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  const std::string write = WriteOf(1 << 20);
  peer.Send(UcxFrameKind::kMessage, HeaderBytes(LongHeader{5, 1 << 20, PayloadWay::kPulled}),
            write);
  ASSERT_TRUE(Await([&] { return service_.receives_begun() == 1; }));
  EXPECT_TRUE(Await([&] { return service_.closed() == 1; }));
  EXPECT_TRUE(Await([&] { return service_.receives_failed() == 1; }));
  ExpectServing();
}

// It sends a piece now and then, each of them good: the whole would take minutes.
TEST_F(StrangerTest, WhoSendsAPayloadTooSlowlyIsClosed) {
  RestartWith(/*transfer_timeout=*/absl::Seconds(1));
  constexpr uint64_t kBytes = 64 << 20;
  const std::string piece(kPieceBytes, 'x');
  const uint64_t checksum =
      PayloadChecksum({Slice(reinterpret_cast<const std::byte*>(piece.data()), piece.size())});
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  const std::string write = WriteOf(kBytes);
  peer.Send(UcxFrameKind::kMessage, HeaderBytes(LongHeader{5, kBytes, PayloadWay::kPulled}), write);
  ASSERT_TRUE(Await([&] { return service_.receives_begun() == 1; }));
  uint64_t sent = 0;
  while (service_.closed() == 0 && sent < 50) {
    peer.Send(UcxFrameKind::kPiece, HeaderBytes(PieceHeader{5, sent * kPieceBytes, checksum}),
              piece);
    ++sent;
    absl::SleepFor(absl::Milliseconds(200));
  }
  EXPECT_EQ(service_.closed(), 1u);
  EXPECT_GE(sent, 4u);
  EXPECT_TRUE(Await([&] { return service_.receives_failed() == 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 0u);
  ExpectServing();
}

// A payload comes before it is asked for, twice the same piece, too short, or in no known way.
TEST_F(StrangerTest, PiecesThatCannotBeAreCountedAndClosed) {
  const std::string piece(kPieceBytes, 'x');
  const std::string part(100, 'x');
  const std::string write = WriteOf(1 << 20);
  const auto header = [](uint64_t offset) { return HeaderBytes(PieceHeader{5, offset, 1}); };
  const auto announce = [&](RawUcxPeer& peer, PayloadWay way) {
    peer.Send(UcxFrameKind::kMessage, HeaderBytes(LongHeader{5, 1 << 20, way}), write);
  };
  const std::vector<std::function<void(RawUcxPeer&)>> nonsense = {
      [&](RawUcxPeer& peer) { announce(peer, static_cast<PayloadWay>(7)); },
      [&](RawUcxPeer& peer) {
        announce(peer, PayloadWay::kPulled);
        peer.Send(UcxFrameKind::kPiece, header(0), part);
      },
      [&](RawUcxPeer& peer) {
        announce(peer, PayloadWay::kPulled);
        peer.Send(UcxFrameKind::kPiece, header(7), piece);
      },
      [&](RawUcxPeer& peer) { peer.Send(UcxFrameKind::kPiece, "short", part); },
      [&](RawUcxPeer& peer) { peer.Send(UcxFrameKind::kPull, "short", ""); },
  };
  for (size_t i = 0; i < nonsense.size(); ++i) {
    RawUcxPeer peer(server_->ucx_address());
    ASSERT_TRUE(Await([&] { return service_.opened() == i + 1; }));
    nonsense[i](peer);
    EXPECT_TRUE(Await([&] { return service_.closed() == i + 1; })) << i;
    EXPECT_EQ(server_->stats().bad_messages, i + 1);
  }
  ExpectServing();
}

// Words about payloads that are not there, or not any more: as may happen to anybody.
TEST_F(StrangerTest, WordsAboutOtherPayloadsAreNothing) {
  const std::string part(100, 'x');
  RawUcxPeer peer(server_->ucx_address());
  ASSERT_TRUE(Await([&] { return service_.opened() == 1; }));
  peer.Send(UcxFrameKind::kPiece, HeaderBytes(PieceHeader{77, 0, 1}), part);
  for (const auto kind : {UcxFrameKind::kPull, UcxFrameKind::kRefuse, UcxFrameKind::kWithdrawn}) {
    peer.Send(kind, HeaderBytes(LateHeader{77}), "");
  }
  const std::string ping = EncodeRequest({.call_id = 9, .deadline = absl::Seconds(5)},
                                         AdminRequest{.model_name = "silent"});
  const uint64_t before = server_->stats().calls;
  peer.Send(UcxFrameKind::kCall, ping, "");
  EXPECT_TRUE(Await([&] { return server_->stats().calls == before + 1; }));
  EXPECT_EQ(server_->stats().bad_messages, 0u);
  EXPECT_EQ(service_.closed(), 0u);
}

TEST_F(StrangerTest, PayloadOfAnotherSizeThanSaidIsCountedAndNotTaken) {
  RoguePeer peer(server_->ucx_address());
  peer.SayHello();
  for (const uint64_t bytes : {uint64_t{100}, uint64_t{1 << 20}}) {
    const uint64_t before = server_->stats().bad_messages;
    const int messages = peer.messages();
    peer.Send(EncodeRequest({.call_id = bytes, .deadline = absl::Seconds(5), .send_bytes = 50},
                            WriteRequest{.reservations = {50, 0, 1}}),
              PatternPieces(bytes, 0, 1));
    EXPECT_TRUE(Await([&] { return peer.messages() == messages + 1; }));
    EXPECT_EQ(server_->stats().bad_messages, before + 1);
  }
  EXPECT_EQ(service_.receives_begun(), 0u);
  ExpectServing();
}

}  // namespace
}  // namespace cistern::transport
