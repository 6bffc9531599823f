// The small pieces: copies between slices, checksums, frames out of a stream.
#include <cstring>
#include <optional>
#include <random>

#include "gtest/gtest.h"

#include "tests/unit/transport/raw_peer.h"
#include "tests/unit/transport/test_service.h"
#include "transport/checksum.h"
#include "transport/rpc/copy_slices.h"
#include "transport/rpc/stream_copy.h"
#include "transport/shm/frame_reader.h"
#include "transport/shm/memfd.h"
#include "transport/shm/tickets.h"

namespace cistern::transport {
namespace {

// `bytes` cut at random places, empty pieces among them.
template <typename Span>
std::vector<Span> Cut(Span bytes, std::mt19937& random) {
  std::vector<Span> pieces;
  while (!bytes.empty()) {
    const size_t some = std::min<size_t>(bytes.size(), random() % 5 == 0 ? 0 : 1 + random() % 50);
    pieces.push_back(bytes.first(some));
    bytes = bytes.subspan(some);
  }
  return pieces;
}

TEST(CopySlicesTest, AnyCutsWillDo) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const std::vector<std::byte> from = Payload(round, random() % 500);
    std::vector<std::byte> to(from.size());
    CopySlices(Cut(Slice(from), random), Cut(MutableSlice(to), random));
    ASSERT_EQ(from, to) << round;
  }
}

TEST(CopySlicesTest, StopsAtTheShorter) {
  const std::vector<std::byte> from = Payload(1, 100);
  std::vector<std::byte> to(150, std::byte{1});
  CopySlices<Slice>({Slice(from)}, {MutableSlice(to).first(40), MutableSlice(to).subspan(40)});
  EXPECT_TRUE(std::equal(from.begin(), from.end(), to.begin()));
  EXPECT_EQ(to[100], std::byte{1});
  CopySlices<Slice>({}, {MutableSlice(to)});
}

// Every alignment of both ends, sizes around those of lines.
TEST(StreamCopyTest, CopiesWhatIsAskedForAndNothingElse) {
  const std::vector<std::byte> from = Payload(3, 1000);
  for (size_t from_at = 0; from_at < 70; from_at += 3) {
    for (size_t to_at = 0; to_at < 70; ++to_at) {
      for (const size_t bytes : {0, 1, 63, 64, 65, 127, 200, 640}) {
        std::vector<std::byte> to(1000, std::byte{0x5a}), want = to;
        std::copy_n(from.begin() + from_at, bytes, want.begin() + to_at);
        StreamCopy(from.data() + from_at, to.data() + to_at, bytes);
        ASSERT_EQ(to, want) << from_at << ' ' << to_at << ' ' << bytes;
      }
    }
  }
}

TEST(StreamCopyTest, AnyCutsWillDo) {
  std::mt19937 random(9);
  for (int round = 0; round < 200; ++round) {
    const std::vector<std::byte> from = Payload(round, random() % 500);
    std::vector<std::byte> to(from.size());
    StreamSlices(Cut(Slice(from), random), Cut(MutableSlice(to), random));
    ASSERT_EQ(from, to) << round;
  }
}

TEST(StreamStepsTest, AnyCutsAndStepsWillDo) {
  std::mt19937 random(10);
  for (int round = 0; round < 200; ++round) {
    const std::vector<std::byte> from = Payload(round, random() % 500);
    std::vector<std::byte> to(from.size());
    StreamSteps steps(Cut(Slice(from), random), Cut(MutableSlice(to), random));
    for (size_t at = 0; at < from.size();) {
      const size_t step = random() % 100;
      steps.Copy(step);
      at = std::min(at + step, from.size());
      ASSERT_TRUE(std::equal(from.begin(), from.begin() + static_cast<ptrdiff_t>(at), to.begin()));
    }
    steps.Copy(1);  // nothing is left
    StreamSteps::Fence();
    ASSERT_EQ(from, to) << round;
  }
}

TEST(ChecksumTest, CutsDoNotMatterBytesDo) {
  std::mt19937 random(8);
  std::vector<std::byte> bytes = Payload(1, 10'000);
  const uint64_t whole = PayloadChecksum(std::vector<Slice>{Slice(bytes)});
  for (int round = 0; round < 20; ++round)
    EXPECT_EQ(PayloadChecksum(Cut(Slice(bytes), random)), whole);
  EXPECT_EQ(PayloadChecksum(std::vector<MutableSlice>{MutableSlice(bytes)}), whole);
  bytes[5000] ^= std::byte{1};
  EXPECT_NE(PayloadChecksum(std::vector<Slice>{Slice(bytes)}), whole);
  EXPECT_NE(PayloadChecksum(std::vector<Slice>{}), 0);
}

// A stream of frames of many sizes, handed over in pieces of many sizes.
// However a call ends, its buffer is somebody else's then.
TEST(TicketBookTest, AReturnedTicketCannotBeClaimed) {
  auto fd = CreateMemfd("tickets", 4096);
  ASSERT_TRUE(fd.ok()) << fd.status();
  auto mapped = Mapping::Map(fd->get(), 4096, Mapping::Access::kReadWrite, /*touch=*/false);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  TicketBook book(*mapped, 2);
  const std::optional<Ticket> late = book.Arm(), claimed = book.Arm();
  ASSERT_TRUE(late.has_value() && claimed.has_value());
  EXPECT_TRUE(MoveTicket(**mapped, *claimed, kTicketClaimed));
  book.Return(late->index);
  book.Return(claimed->index);
  EXPECT_FALSE(MoveTicket(**mapped, *late, kTicketClaimed));
  const std::optional<Ticket> again = book.Arm();
  ASSERT_TRUE(again.has_value());
  EXPECT_FALSE(MoveTicket(**mapped, *claimed, kTicketClaimed)) << "an earlier call's number";
  EXPECT_TRUE(MoveTicket(**mapped, *again, kTicketClaimed));
}

TEST(FrameReaderTest, FramesComeOutAsTheyWentIn) {
  std::mt19937 random(9);
  std::vector<std::string> bodies;
  std::string stream;
  for (int i = 0; i < 300; ++i) {
    std::string body(i % 50 == 0 ? random() % 3'000'000 : random() % 300,
                     static_cast<char>('a' + i % 26));
    stream += RawBytes(FrameHeader{.length = static_cast<uint32_t>(body.size())}) + body;
    bodies.push_back(std::move(body));
  }
  FrameReader reader;
  size_t at = 0, next = 0;
  while (at < stream.size()) {
    const std::span<std::byte> space = reader.Space();
    ASSERT_FALSE(space.empty());
    const size_t some =
        std::min({stream.size() - at, space.size(), size_t{1} + random() % 100'000});
    memcpy(space.data(), stream.data() + at, some);
    reader.Commit(some);
    at += some;
    FrameView frame;
    while (*reader.Next(&frame)) {
      ASSERT_LT(next, bodies.size());
      ASSERT_EQ(frame.body.size(), bodies[next].size());
      ASSERT_EQ(memcmp(frame.body.data(), bodies[next].data(), frame.body.size()), 0);
      ++next;
    }
  }
  EXPECT_EQ(next, bodies.size());
  EXPECT_FALSE(reader.midway());
}

// A header that claims much takes no memory until the bytes come.
TEST(FrameReaderTest, MemoryGrowsWithWhatHasCome) {
  FrameReader reader;
  const std::string header = RawBytes(FrameHeader{.length = static_cast<uint32_t>(kMaxFrameBytes)});
  memcpy(reader.Space().data(), header.data(), header.size());
  reader.Commit(header.size());
  FrameView frame;
  EXPECT_FALSE(*reader.Next(&frame));
  EXPECT_TRUE(reader.midway());
  EXPECT_LT(reader.Space().size(), 1 << 20);
}

}  // namespace
}  // namespace cistern::transport
