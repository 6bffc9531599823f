// The codec: what goes in comes out, and no bytes make it fall over.
#include "transport/wire/codec.h"

#include <chrono>
#include <cstring>
#include <functional>
#include <random>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/transport/sample_messages.h"

namespace cistern::transport {
namespace {

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

RequestHead Head() {
  return {.call_id = 0x123456789abcdef0,
          .deadline = absl::Microseconds(1234567),
          .send_bytes = 11,
          .receive_bytes = 13};
}

TEST(CodecTest, EveryRequestComesBackAsItWas) {
  for (const Request& request : SampleRequests()) {
    ASSERT_TRUE(CheckBounds(request).ok());
    const auto envelope = DecodeRequest(Bytes(EncodeRequest(Head(), request)));
    ASSERT_TRUE(envelope.ok()) << request.index() << ": " << envelope.status();
    EXPECT_EQ(envelope->request, request) << request.index();
    EXPECT_EQ(envelope->head.call_id, Head().call_id);
    EXPECT_EQ(envelope->head.deadline, Head().deadline);
    EXPECT_EQ(envelope->head.send_bytes, 11);
    EXPECT_EQ(envelope->head.receive_bytes, 13);
  }
}

TEST(CodecTest, EveryReplyComesBackAsItWas) {
  for (const Reply& reply : SampleReplies()) {
    ASSERT_TRUE(CheckBounds(reply).ok());
    uint64_t call_id = 0;
    const auto envelope = DecodeReply(Bytes(EncodeReply({7, 8}, reply)), &call_id);
    ASSERT_TRUE(envelope.ok()) << reply.index() << ": " << envelope.status();
    EXPECT_EQ(envelope->reply, reply) << reply.index();
    EXPECT_EQ(call_id, 7);
    EXPECT_EQ(envelope->head.payload_bytes, 8);
  }
}

TEST(CodecTest, SamplesCoverEveryKind) {
  std::vector<bool> requests(std::variant_size_v<Request>), replies(std::variant_size_v<Reply>);
  for (const Request& request : SampleRequests()) requests[request.index()] = true;
  for (const Reply& reply : SampleReplies()) replies[reply.index()] = true;
  EXPECT_EQ(requests, std::vector<bool>(requests.size(), true));
  EXPECT_EQ(replies, std::vector<bool>(replies.size(), true));
}

TEST(CodecTest, TheLargestListsPass) {
  LeaseRequest lease;
  lease.objects.resize(kMaxItems, 5);
  EXPECT_TRUE(DecodeRequest(Bytes(EncodeRequest(Head(), lease))).ok());
  FindRequest find;
  find.items.resize(kMaxItems);
  EXPECT_TRUE(DecodeRequest(Bytes(EncodeRequest(Head(), find))).ok());
  ReserveRequest reserve;
  reserve.headers.resize(1000, SampleSegment(base::ObjectHeader::kMaxTokens));
  EXPECT_TRUE(DecodeRequest(Bytes(EncodeRequest(Head(), reserve))).ok());
}

TEST(CodecTest, MoreThanTheLargestIsRefusedByBothEnds) {
  const auto refuse = [](const Request& request) {
    EXPECT_EQ(CheckBounds(request).code(), absl::StatusCode::kInvalidArgument) << request.index();
    uint64_t call_id = 0;
    const auto envelope = DecodeRequest(Bytes(EncodeRequest(Head(), request)), &call_id);
    EXPECT_EQ(envelope.status().code(), absl::StatusCode::kInvalidArgument) << request.index();
    EXPECT_EQ(call_id, Head().call_id) << "so that it can be answered";
  };
  const std::vector<uint64_t> ids(kMaxItems + 1);
  refuse(LeaseRequest{ids});
  refuse(ReleaseRequest{ids});
  refuse(ReadRequest{ids});
  refuse(WriteRequest{ids});
  refuse(CommitRequest{ids});
  refuse(AbortRequest{ids});
  refuse(FindRequest{.items = std::vector<FindItem>(kMaxItems + 1)});
  refuse(LinkRequest{std::vector<LinkItem>(kMaxItems + 1)});
  refuse(ReserveRequest{std::vector<base::ObjectHeader>(kMaxItems + 1, SampleBlob())});
}

TEST(CodecTest, AReplyOfTooManyIsRefused) {
  FindReply find;
  find.results.resize(kMaxItems + 1);
  LeaseReply lease;
  lease.results.resize(kMaxItems + 1);
  ReserveReply reserve;
  reserve.results.resize(kMaxItems + 1);
  FindReply states;
  states.Add(1, SampleBlob(), {});
  states.states.resize(kMaxItems + 1);
  for (const Reply& reply : {Reply(find), Reply(states), Reply(lease), Reply(reserve)}) {
    EXPECT_FALSE(CheckBounds(reply).ok());
    EXPECT_EQ(DecodeReply(Bytes(EncodeReply({1}, reply))).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// A message begins with the number of its segments, less one (Cap'n Proto's stream format).
TEST(CodecTest, LongRepliesHaveOneSegment) {
  for (const size_t count : {1, 64, 2000}) {
    FindReply find;
    find.results.resize(count);
    find.neighbours.resize(count);
    for (size_t i = 0; i < count; ++i) {
      find.Add(1, SampleSegment(33), SampleSegment(33).tokens);
      find.AddBlocks(std::vector<base::BlockRef>{{1, 2, 3}, {4, 5, 6}});
    }
    LeaseReply lease;
    lease.results.resize(count, {.blocks = {{1, 2, 3}, {4, 5, 6}}});
    for (const Reply& reply : {Reply(find), Reply(lease)}) {
      const std::string message = EncodeReply({1}, reply);
      uint32_t more_segments = 0;
      memcpy(&more_segments, message.data(), sizeof(more_segments));
      EXPECT_EQ(more_segments, 0u) << count << " in a reply of kind " << reply.index();
      EXPECT_TRUE(DecodeReply(Bytes(message)).ok());
    }
  }
}

TEST(CodecTest, AMessageOverTheBoundIsRefusedBeforeItIsRead) {
  const std::string large =
      EncodeRequest(Head(), RegisterModelRequest{std::string(kMaxMessageBytes, 'x')});
  ASSERT_GT(large.size(), kMaxMessageBytes);
  const absl::Status status = DecodeRequest(Bytes(large)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("at most"), absl::string_view::npos);
}

TEST(CodecTest, HeadersAreValidated) {
  base::ObjectHeader no_tokens = SampleSegment(0);
  base::ObjectHeader no_content = SampleSegment();
  no_content.content = {};
  base::ObjectHeader long_one = SampleSegment(base::ObjectHeader::kMaxTokens + 1);
  base::ObjectHeader huge_blob = SampleBlob();
  ++huge_blob.blob_bytes;
  base::ObjectHeader bad_kind = SampleBlob();
  bad_kind.kind = static_cast<base::ObjectKind>(7);
  base::ObjectHeader bad_encoding = SampleSegment();
  bad_encoding.encoding = static_cast<base::RotaryEncoding>(2);
  base::ObjectHeader bad_arithmetic = SampleSegment();
  bad_arithmetic.arithmetic = static_cast<base::RotaryArithmetic>(200);
  base::ObjectHeader bad_lineage = SampleSegment();
  bad_lineage.lineage = static_cast<base::Lineage>(2);
  base::ObjectHeader bad_tails = SampleState(base::ObjectKind::kLog);
  bad_tails.tails = static_cast<base::LogTails>(2);
  base::ObjectHeader bad_state = SampleState(base::ObjectKind::kCheckpoint);
  ++bad_state.content.lo;
  for (const base::ObjectHeader& header :
       {no_tokens, no_content, long_one, huge_blob, bad_kind, bad_encoding, bad_arithmetic,
        bad_lineage, bad_tails, bad_state}) {
    EXPECT_EQ(DecodeRequest(Bytes(EncodeRequest(Head(), ReserveRequest{{header}}))).status().code(),
              absl::StatusCode::kInvalidArgument);
    FindReply reply;
    reply.Add(1, header, header.tokens);
    EXPECT_EQ(DecodeReply(Bytes(EncodeReply({1}, reply))).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(CodecTest, UnknownEnumValuesAreRefused) {
  const auto refuse = [](const Reply& reply) {
    const absl::Status status = DecodeReply(Bytes(EncodeReply({1}, reply))).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << reply.index();
    EXPECT_NE(status.message().find("unknown value"), absl::string_view::npos) << status;
  };
  refuse(LeaseReply{{{.outcome = static_cast<LeaseOutcome>(3)}}});
  refuse(ReserveReply{{{.outcome = static_cast<ReserveOutcome>(4)}}});
  refuse(FindReply{.results = {{.where = static_cast<Where>(3)}}});
  refuse(FindReply{.results = {{.match = static_cast<Match>(2)}}});
  refuse(FindReply{.results = {{.lineage = static_cast<base::Lineage>(2)}}});
  refuse(FindReply{.neighbours = {{.match = static_cast<Match>(2)}}});
  FindReply nowhere;
  nowhere.Add(1, SampleBlob(), {}).where = static_cast<Where>(9);
  refuse(nowhere);
  EXPECT_FALSE(
      DecodeRequest(Bytes(EncodeRequest(Head(), AdminRequest{.verb = static_cast<AdminVerb>(99)})))
          .ok());
}

TEST(CodecTest, AFindReplyThatPointsOutsideIsRefused) {
  const auto refuse = [](const FindReply& reply) {
    EXPECT_EQ(DecodeReply(Bytes(EncodeReply({1}, reply))).status().code(),
              absl::StatusCode::kInvalidArgument);
  };
  const ObjectRef object{
      .id = 1, .header = static_cast<base::ObjectHead>(SampleBlob()), .where = Where::kMemory};
  refuse({.results = {{.where = Where::kMemory, .object = 1}}, .objects = {object}});
  refuse({.results = {{}}, .neighbours = {{.item = 0, .object = 1}}, .objects = {object}});
  refuse({.results = {{}}, .neighbours = {{.item = 1, .object = 0}}, .objects = {object}});
  refuse({.results = {{}}, .neighbours = {{.item = -2, .object = 0}}, .objects = {object}});
  refuse({.states = {0, 1}, .objects = {object}});
}

// Of each object only how many tokens and blocks it has is sent.
TEST(CodecTest, AFindReplyWhoseObjectsDoNotShareItsListsIsRefused) {
  const auto refuse = [](const std::function<void(FindReply*)>& change) {
    FindReply reply;
    for (const uint32_t count : {3, 5}) {
      reply.Add(1, SampleSegment(count), SampleSegment(count).tokens);
      reply.AddBlocks(std::vector<base::BlockRef>{{1, 2, 3}, {4, 5, 6}});
    }
    EXPECT_TRUE(CheckBounds(reply).ok());
    EXPECT_TRUE(DecodeReply(Bytes(EncodeReply({1}, reply))).ok());
    change(&reply);
    EXPECT_EQ(CheckBounds(reply).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DecodeReply(Bytes(EncodeReply({1}, reply))).status().code(),
              absl::StatusCode::kInvalidArgument);
  };
  refuse([](FindReply* reply) { reply->tokens.pop_back(); });
  refuse([](FindReply* reply) { reply->tokens.push_back(1); });
  refuse([](FindReply* reply) { reply->blocks.pop_back(); });
  refuse([](FindReply* reply) { reply->blocks.push_back({1, 2, 3}); });
  refuse([](FindReply* reply) { reply->objects.pop_back(); });
  refuse([](FindReply* reply) { reply->objects[0].tokens.count = UINT32_MAX; });
  refuse([](FindReply* reply) { reply->objects[1].blocks.count = UINT32_MAX; });
}

TEST(CodecTest, ASenderWhoseObjectsOverlapIsTold) {
  FindReply reply;
  for (int i = 0; i < 2; ++i) reply.Add(1, SampleSegment(4), SampleSegment(4).tokens);
  EXPECT_TRUE(CheckBounds(reply).ok());
  std::swap(reply.objects[0].tokens, reply.objects[1].tokens);
  EXPECT_EQ(CheckBounds(reply).code(), absl::StatusCode::kInvalidArgument);
}

TEST(CodecTest, AnErrorReplyIsNeverOk) {
  for (const int32_t code : {0, -1, 17, 1 << 30}) {
    const auto envelope = DecodeReply(Bytes(EncodeReply({1}, ErrorReply{code, "odd"})));
    ASSERT_TRUE(envelope.ok());
    EXPECT_EQ(std::get<ErrorReply>(envelope->reply).ToStatus(), absl::UnknownError("odd"));
  }
}

TEST(CodecTest, AMessageWithoutCallIdIsRefused) {
  EXPECT_FALSE(DecodeRequest(Bytes(EncodeRequest({}, HelloRequest{}))).ok());
  EXPECT_FALSE(DecodeReply(Bytes(EncodeReply({}, WriteReply{}))).ok());
}

TEST(CodecTest, DeadlinesAreCut) {
  for (const auto& [given, kept] :
       {std::pair(absl::InfiniteDuration(), kMaxDeadline), std::pair(absl::Hours(2), kMaxDeadline),
        std::pair(-absl::Seconds(1), absl::ZeroDuration())}) {
    const auto envelope =
        DecodeRequest(Bytes(EncodeRequest({.call_id = 1, .deadline = given}, FindRequest{})));
    ASSERT_TRUE(envelope.ok());
    EXPECT_EQ(envelope->head.deadline, kept);
  }
}

// The union's discriminant of Request lies in the struct's data section; a newer peer would send
// one that is not known.
TEST(CodecTest, AnUnknownKindIsNamed) {
  const std::string known = EncodeRequest(Head(), AdminRequest{});
  const uint16_t admin = 11;
  int refused_as_unknown = 0;
  for (size_t at = 0; at + 2 <= known.size(); at += 2) {
    uint16_t value = 0;
    memcpy(&value, known.data() + at, sizeof(value));
    if (value != admin) continue;
    std::string newer = known;
    const uint16_t kind = 900;
    memcpy(newer.data() + at, &kind, sizeof(kind));
    uint64_t call_id = 0;
    const absl::Status status = DecodeRequest(Bytes(newer), &call_id).status();
    if (status.message().find("unknown kind 900") == absl::string_view::npos) continue;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(call_id, Head().call_id);
    ++refused_as_unknown;
  }
  EXPECT_EQ(refused_as_unknown, 1);
}

TEST(CodecTest, AnyAlignmentWillDo) {
  const std::string message = EncodeRequest(Head(), SampleRequests()[5]);
  std::vector<std::byte> room(message.size() + 8);
  for (size_t shift = 0; shift < 8; ++shift) {
    memcpy(room.data() + shift, message.data(), message.size());
    const auto envelope = DecodeRequest(std::span(room).subspan(shift, message.size()));
    ASSERT_TRUE(envelope.ok()) << shift;
    EXPECT_EQ(envelope->request, SampleRequests()[5]);
  }
}

TEST(CodecTest, EveryTruncationIsRefusedOrHarmless) {
  std::vector<std::string> messages;
  for (const Request& request : SampleRequests())
    messages.push_back(EncodeRequest(Head(), request));
  for (const std::string& message : messages) {
    // Large samples are cut at every word of their first and last kilobytes.
    for (size_t bytes = 0; bytes < message.size(); ++bytes) {
      if (bytes > 1024 && bytes + 1024 < message.size()) continue;
      EXPECT_FALSE(DecodeRequest(Bytes(message).first(bytes)).ok())
          << bytes << " of " << message.size();
    }
  }
  for (const Reply& reply : SampleReplies()) {
    const std::string message = EncodeReply({1}, reply);
    for (size_t bytes = 0; bytes < message.size(); ++bytes) {
      EXPECT_FALSE(DecodeReply(Bytes(message).first(bytes)).ok())
          << bytes << " of " << message.size();
    }
  }
}

// Every byte of every message is turned into several others: decoding may succeed or not, but what
// it accepts keeps the bounds, and it never crashes (sanitizers watch).
TEST(CodecTest, GarbageAtEveryByteIsHarmless) {
  int accepted = 0, refused = 0;
  const auto count = [&](bool ok) { ++(ok ? accepted : refused); };
  for (const Request& request : SampleRequests()) {
    std::string message = EncodeRequest(Head(), request);
    for (size_t at = 0; at < std::min<size_t>(message.size(), 4096); ++at) {
      const char good = message[at];
      for (const int bad : {0, 1, 0x7f, 0x80, 0xff, good ^ 1}) {
        message[at] = static_cast<char>(bad);
        const auto envelope = DecodeRequest(Bytes(message));
        count(envelope.ok());
        EXPECT_TRUE(!envelope.ok() || CheckBounds(envelope->request).ok());
      }
      message[at] = good;
    }
  }
  for (const Reply& reply : SampleReplies()) {
    std::string message = EncodeReply({1}, reply);
    for (size_t at = 0; at < message.size(); ++at) {
      const char good = message[at];
      for (const int bad : {0, 1, 0x7f, 0x80, 0xff, good ^ 1}) {
        message[at] = static_cast<char>(bad);
        count(DecodeReply(Bytes(message)).ok());
      }
      message[at] = good;
    }
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(CodecTest, RandomBytesAreRefused) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(8 * (1 + random() % 64), '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_FALSE(DecodeRequest(Bytes(bytes)).ok());
    EXPECT_FALSE(DecodeReply(Bytes(bytes)).ok());
  }
}

// A thousand pointers to one large list would decode into a thousand copies of it: the traversal
// limit refuses that.
TEST(CodecTest, MemoryStaysInProportionToTheInput) {
  ReserveRequest reserve;
  reserve.headers.resize(200, SampleSegment(4096));
  for (size_t i = 1; i < reserve.headers.size(); ++i) reserve.headers[i].tokens = {1};
  std::string message = EncodeRequest(Head(), reserve);
  // Point every later header's token list to the first one's. A list pointer is (30-bit signed word
  // offset << 2 | 1) and (count << 3 | size code); those of one token are recognised by their
  // second half.
  std::vector<uint64_t> words(message.size() / 8);
  memcpy(words.data(), message.data(), message.size());
  const auto half = [](uint64_t count) { return (count << 3 | 4) << 32; };
  size_t first = 0, changed = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    if ((words[i] >> 32 << 32) == half(4096) && first == 0)
      first = i + 1 + ((words[i] & 0xffffffff) >> 2);
    if (first != 0 && (words[i] >> 32 << 32) == half(1) && (words[i] & 3) == 1) {
      const auto offset =
          static_cast<uint32_t>((static_cast<int64_t>(first) - static_cast<int64_t>(i) - 1) * 4) |
          1;
      words[i] = half(4096) | offset;
      ++changed;
    }
  }
  memcpy(message.data(), words.data(), message.size());
  EXPECT_FALSE(DecodeRequest(Bytes(message)).ok()) << changed << " pointers changed";
  EXPECT_GT(changed, 50u);
}

TEST(CodecTest, ALookupOf64KeysTakesMicroseconds) {
  const Request find = SampleRequests()[5];
  std::string message;
  const auto begin = std::chrono::steady_clock::now();
  constexpr int kRounds = 1000;
  for (int i = 0; i < kRounds; ++i) {
    message = EncodeRequest(Head(), find);
    ASSERT_TRUE(DecodeRequest(Bytes(message)).ok());
  }
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - begin;
  RecordProperty("us_per_round", std::to_string(took.count() / kRounds));
  std::cout << "encode + decode of 64 keys: " << took.count() / kRounds << " us\n";
  // Generous: sanitizers and busy machines run this too.
  EXPECT_LT(took.count() / kRounds, 2000);
}

}  // namespace
}  // namespace cistern::transport
