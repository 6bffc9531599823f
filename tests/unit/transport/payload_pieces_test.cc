// Payloads cut into pieces at one end, and put together at the other.
#include <algorithm>
#include <random>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"

#include "transport/ucx/payload_inbox.h"
#include "transport/ucx/payload_outbox.h"

namespace cistern::transport {
namespace {

std::vector<std::byte> SomeBytes(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// Cut at random places, empty slices among them.
template <typename Span>
std::vector<Span> CutUp(Span bytes, std::mt19937& random) {
  std::vector<Span> slices;
  while (!bytes.empty()) {
    const size_t some = std::min<size_t>(bytes.size(), random() % 4 == 0 ? 0 : random() % 100'000);
    slices.push_back(bytes.first(some));
    bytes = bytes.subspan(some);
  }
  return slices;
}

struct SentPiece {
  PieceHeader header;
  std::vector<std::byte> bytes;
};

std::vector<SentPiece> PackAll(PayloadOutbox& outbox) {
  std::vector<SentPiece> pieces;
  while (outbox.ready()) {
    std::vector<std::byte> buffer(kPieceBytes);
    const PayloadOutbox::Piece piece = outbox.Pack(buffer);
    buffer.resize(piece.bytes);
    pieces.push_back({piece.header, std::move(buffer)});
  }
  return pieces;
}

// What `done` of a claim was told.
struct Ending {
  int runs = 0;
  absl::Status status;
  Received Take() {
    return Received([this](absl::Status ended) {
      ++runs;
      status = std::move(ended);
    });
  }
};

class PayloadPiecesTest : public testing::Test {
 protected:
  // A payload of `count` bytes that is announced and claimed.
  void Claim(uint64_t tag, size_t count) {
    to_.assign(count, std::byte{});
    ASSERT_TRUE(inbox_.Announce(tag, count).ok());
    inbox_.Claim(tag, {to_}, ending_.Take());
  }
  std::vector<SentPiece> Pieces(uint64_t tag, const std::vector<std::byte>& from) {
    outbox_.Add(tag, /*name=*/0, {from}, Sent());
    outbox_.Go(tag);
    return PackAll(outbox_);
  }

  PayloadOutbox outbox_;
  PayloadInbox inbox_;
  std::vector<std::byte> to_;
  Ending ending_;
};

TEST_F(PayloadPiecesTest, AnyCutsAndAnyOrderWillDo) {
  std::mt19937 random(11);
  for (const size_t bytes : {size_t{1}, kPieceBytes - 1, kPieceBytes, kPieceBytes + 1,
                             3 * kPieceBytes, size_t{1'234'567}}) {
    const std::vector<std::byte> from = SomeBytes(bytes, 5);
    std::vector<std::byte> to(bytes);
    bool sent = false;
    outbox_.Add(7, 0, CutUp(Slice(from), random), Sent([&] { sent = true; }));
    EXPECT_FALSE(outbox_.ready()) << "nobody waits for it yet";
    outbox_.Go(7);
    std::vector<SentPiece> pieces = PackAll(outbox_);
    EXPECT_TRUE(sent);
    EXPECT_EQ(pieces.size(), (bytes + kPieceBytes - 1) / kPieceBytes);
    std::ranges::shuffle(pieces, random);

    Ending ending;
    ASSERT_TRUE(inbox_.Announce(7, bytes).ok());
    inbox_.Claim(7, CutUp(MutableSlice(to), random), ending.Take());
    for (const SentPiece& piece : pieces) {
      EXPECT_EQ(ending.runs, 0);
      ASSERT_TRUE(inbox_.OnPiece(piece.header, piece.bytes).ok());
    }
    EXPECT_EQ(ending.runs, 1);
    EXPECT_TRUE(ending.status.ok()) << ending.status;
    EXPECT_EQ(to, from);
  }
}

TEST_F(PayloadPiecesTest, TheFirstThatMayGoGoesFirst) {
  const std::vector<std::byte> from = SomeBytes(2 * kPieceBytes, 1);
  for (const uint64_t tag : {1, 2, 3}) outbox_.Add(tag, 0, {from}, Sent());
  outbox_.Go(3);
  outbox_.Go(2);
  std::vector<uint64_t> tags;
  for (const SentPiece& piece : PackAll(outbox_)) tags.push_back(piece.header.tag);
  EXPECT_EQ(tags, (std::vector<uint64_t>{2, 2, 3, 3}));
}

TEST_F(PayloadPiecesTest, OneThatIsRefusedOrWithdrawnGoesNoFurther) {
  const std::vector<std::byte> from = SomeBytes(3 * kPieceBytes, 1);
  int sent = 0;
  outbox_.Add(1, 100, {from}, Sent([&] { ++sent; }));
  outbox_.Add(2, 200, {from}, Sent([&] { ++sent; }));
  outbox_.Go(1);
  outbox_.Go(2);
  std::vector<std::byte> buffer(kPieceBytes);
  EXPECT_EQ(outbox_.Pack(buffer).header.tag, 1u);
  outbox_.Refuse(1);
  EXPECT_EQ(sent, 1);
  EXPECT_EQ(outbox_.Withdraw(300), std::nullopt);
  EXPECT_EQ(outbox_.Withdraw(0), std::nullopt);
  EXPECT_EQ(outbox_.Withdraw(200), 2u);
  EXPECT_EQ(sent, 2);
  EXPECT_FALSE(outbox_.ready());
  outbox_.Refuse(1);
  EXPECT_FALSE(outbox_.Go(2)) << "whoever asks for it is told so";
  EXPECT_FALSE(outbox_.ready());
  EXPECT_EQ(outbox_.oldest(), kNever);
  outbox_.Add(3, 0, {from}, Sent([&] { ++sent; }));
  EXPECT_NE(outbox_.oldest(), kNever);
  outbox_.Clear();
  EXPECT_EQ(sent, 3);
}

TEST_F(PayloadPiecesTest, ADamagedPieceIsDataLossAndTheRestIsThrownAway) {
  std::vector<SentPiece> pieces = Pieces(1, SomeBytes(3 * kPieceBytes, 1));
  Claim(1, 3 * kPieceBytes);
  pieces[1].bytes[17] ^= std::byte{1};
  for (const SentPiece& piece : pieces) {
    EXPECT_TRUE(inbox_.OnPiece(piece.header, piece.bytes).ok());
  }
  EXPECT_EQ(ending_.runs, 1);
  EXPECT_TRUE(absl::IsDataLoss(ending_.status)) << ending_.status;
  EXPECT_EQ(to_[kPieceBytes + 17], std::byte{}) << "nothing of it was written";
}

TEST_F(PayloadPiecesTest, PiecesThatCannotBeAreNonsense) {
  const std::vector<SentPiece> pieces = Pieces(1, SomeBytes(2 * kPieceBytes + 10, 1));
  Claim(1, 2 * kPieceBytes + 10);
  ASSERT_TRUE(inbox_.OnPiece(pieces[0].header, pieces[0].bytes).ok());
  const auto refused = [&](uint64_t offset, size_t bytes) {
    const PieceHeader header = {.tag = 1, .offset = offset, .checksum = 1};
    return absl::IsInvalidArgument(inbox_.OnPiece(header, Slice(pieces[1].bytes).first(bytes)));
  };
  EXPECT_TRUE(refused(0, kPieceBytes)) << "the second time";
  EXPECT_TRUE(refused(5, kPieceBytes)) << "between two pieces";
  EXPECT_TRUE(refused(kPieceBytes, 100)) << "too short";
  EXPECT_TRUE(refused(2 * kPieceBytes, 11)) << "beyond the end";
  EXPECT_TRUE(refused(3 * kPieceBytes, 10)) << "behind the end";
  EXPECT_TRUE(refused(~uint64_t{0}, 10));
  EXPECT_TRUE(refused(kPieceBytes, 0));
  EXPECT_EQ(ending_.runs, 0);
  inbox_.Clear();
  EXPECT_TRUE(absl::IsUnavailable(ending_.status)) << ending_.status;
}

TEST_F(PayloadPiecesTest, WhatIsForgottenIsNotWrittenAnyMore) {
  const std::vector<SentPiece> pieces = Pieces(1, SomeBytes(2 * kPieceBytes, 1));
  Claim(1, 2 * kPieceBytes);
  ASSERT_TRUE(inbox_.OnPiece(pieces[0].header, pieces[0].bytes).ok());
  EXPECT_TRUE(inbox_.claimed(1));
  inbox_.Forget(1);
  EXPECT_FALSE(inbox_.claimed(1));
  EXPECT_TRUE(absl::IsUnavailable(ending_.status)) << ending_.status;
  const std::vector<std::byte> before = to_;
  EXPECT_TRUE(inbox_.OnPiece(pieces[1].header, pieces[1].bytes).ok());
  EXPECT_EQ(to_, before);
  EXPECT_EQ(inbox_.oldest(), kNever);
}

TEST_F(PayloadPiecesTest, WhatItsSenderTakesBackEndsTheClaim) {
  Claim(1, kPieceBytes);
  EXPECT_NE(inbox_.oldest(), kNever);
  inbox_.OnWithdrawn(1);
  EXPECT_TRUE(absl::IsUnavailable(ending_.status)) << ending_.status;

  ASSERT_TRUE(inbox_.Announce(2, kPieceBytes).ok());
  inbox_.OnWithdrawn(2);
  Ending late;
  inbox_.Claim(2, {to_}, late.Take());
  EXPECT_TRUE(absl::IsUnavailable(late.status)) << late.status;
}

TEST_F(PayloadPiecesTest, WhatComesUnaskedIsNotHad) {
  const std::vector<SentPiece> pieces = Pieces(1, SomeBytes(100, 1));
  ASSERT_TRUE(inbox_.Announce(1, 100).ok());
  ASSERT_TRUE(inbox_.OnPiece(pieces[0].header, pieces[0].bytes).ok());
  to_.assign(100, std::byte{});
  inbox_.Claim(1, {to_}, ending_.Take());
  EXPECT_TRUE(absl::IsInvalidArgument(ending_.status)) << ending_.status;
}

TEST_F(PayloadPiecesTest, AnnouncementsHaveBounds) {
  EXPECT_TRUE(absl::IsInvalidArgument(inbox_.Announce(1, 0)));
  EXPECT_TRUE(inbox_.Announce(1, 1).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(inbox_.Announce(1, 1)));
  for (uint64_t tag = 2; tag <= PayloadInbox::kMaxPayloads; ++tag) {
    ASSERT_TRUE(inbox_.Announce(tag, 1).ok());
  }
  EXPECT_TRUE(absl::IsInvalidArgument(inbox_.Announce(99999, 1)));
}

}  // namespace
}  // namespace cistern::transport
