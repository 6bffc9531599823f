// The first write on a Reserve, the commit on the last one.
#include "gtest/gtest.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using absl::StatusCode;
using transport::ReserveOutcome;
using transport::ReserveReply;
using transport::ReserveRequest;
using transport::Where;

class ReservePayloadTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
};

// Layers [0, end) of the first `count` headers.
ReserveRequest WithRows(std::vector<base::ObjectHeader> headers, uint32_t count, uint32_t end) {
  ReserveRequest request{std::move(headers)};
  request.payload_headers = count;
  request.layer_end = end;
  request.commit = true;
  return request;
}

TEST_F(ReservePayloadTest, OneCallReservesWritesAndCommits) {
  const auto header = node().Segment(1, 21);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  ReserveRequest request = WithRows({header}, 1, 2);
  request.checksum = transport::PayloadChecksum(std::vector<transport::Slice>{options.payload});
  const auto reply = node().Send(request, options)->WaitFor<ReserveReply>();
  EXPECT_TRUE(reply.written);
  EXPECT_EQ(reply.committed, 1u);
  EXPECT_EQ(node().Stats().reservations, 0u);
  node().ExpectServed(header);
}

TEST_F(ReservePayloadTest, WhatIsNotCompleteIsNotCommitted) {
  const auto header = node().Segment(1);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 1);
  const auto reply = node().Send(WithRows({header}, 1, 1), options)->WaitFor<ReserveReply>();
  EXPECT_TRUE(reply.written);
  EXPECT_EQ(reply.committed, 0u);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  options.payload = node().Rows(header, 1, 2);
  const transport::WriteRequest last{{reply.results.at(0).reservation}, 1, 2, 0, /*commit=*/true};
  EXPECT_EQ(node().Send(last, options)->WaitFor<transport::WriteReply>().committed, 1u);
  node().ExpectServed(header);
}

// Two workers, one key: the second one's rows are not looked at.
TEST_F(ReservePayloadTest, APayloadIsTakenOnlyWhenEverythingWasReserved) {
  const auto first = node().Segment(1), second = node().Segment(2);
  const auto id = node().Reserve(first);
  FakeCallOptions options = node().Options(kOther);
  options.payload = node().Rows(second, 0, 2);
  const auto reply = node().Send(WithRows({second, first}, 1, 2), options)->WaitFor<ReserveReply>();
  EXPECT_EQ(reply.results.at(1).outcome, ReserveOutcome::kAlreadyHave);
  EXPECT_FALSE(reply.written);
  EXPECT_EQ(reply.committed, 0u);
  EXPECT_EQ(node().WhereIs(second), Where::kMiss);
  const auto other = reply.results.at(0).reservation;
  EXPECT_TRUE(node().Write(other, node().Rows(second, 0, 2), 0, 2, kOther)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{other}}, kOther)->WaitStatus().ok());
  EXPECT_TRUE(node().Write(id, node().Rows(first, 0, 2), 0, 2)->WaitStatus().ok());
  EXPECT_TRUE(node().Send(transport::CommitRequest{{id}})->WaitStatus().ok());
  node().ExpectServed(first);
  node().ExpectServed(second);
}

TEST_F(ReservePayloadTest, ACorruptPayloadOfAReserveIsWrittenAgain) {
  const auto header = node().Segment(1);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  ReserveRequest request = WithRows({header}, 1, 2);
  request.checksum = 12345;
  const auto reply = node().Send(request, options)->WaitFor<ReserveReply>();
  EXPECT_FALSE(reply.written);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  const transport::WriteRequest again{{reply.results.at(0).reservation}, 0, 2, 0, true};
  EXPECT_EQ(node().Send(again, options)->WaitFor<transport::WriteReply>().committed, 1u);
}

TEST_F(ReservePayloadTest, AReserveWithAWrongPayloadLeavesNothingBehind) {
  const auto header = node().Segment(1);
  const auto status = [&](const ReserveRequest& request, size_t bytes, absl::Status received) {
    FakeCallOptions options = node().Options();
    options.payload = std::vector<std::byte>(bytes);
    options.receive_status = std::move(received);
    const absl::Status answer = node().Send(request, options)->WaitStatus();
    EXPECT_EQ(node().Stats().reservations, 0u);
    EXPECT_EQ(node().Stats().used_bytes, 0u);
    return answer.code();
  };
  const size_t right = node().Rows(header, 0, 2).size();
  const absl::Status ok, gone = absl::UnavailableError("the peer is gone");
  EXPECT_EQ(status(WithRows({header}, 1, 2), right - 1, ok), StatusCode::kInvalidArgument);
  EXPECT_EQ(status(WithRows({header}, 1, 3), right, ok), StatusCode::kInvalidArgument);
  EXPECT_EQ(status(WithRows({header}, 2, 2), right, ok), StatusCode::kInvalidArgument);
  EXPECT_EQ(status(WithRows({header}, 0, 2), right, ok), StatusCode::kInvalidArgument);
  EXPECT_EQ(status(WithRows({header}, 1, 2), 0, ok), StatusCode::kInvalidArgument);
  EXPECT_EQ(status(WithRows({header}, 1, 2), right, gone), StatusCode::kUnavailable);
}

TEST_F(ReservePayloadTest, TheWriteThatEndsLastCommits) {
  const auto header = node().Segment(1);
  const auto id = node().Reserve(header);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 1);
  options.hold_receive = true;
  const auto slow = node().Send(transport::WriteRequest{{id}, 0, 1, 0, true}, options);
  const auto payload = node().last_payload();
  payload->AwaitAsked();
  options.payload = node().Rows(header, 1, 2);
  options.hold_receive = false;
  const auto fast = node().Send(transport::WriteRequest{{id}, 1, 2, 0, true}, options);
  EXPECT_EQ(fast->WaitFor<transport::WriteReply>().committed, 0u);
  EXPECT_EQ(node().WhereIs(header), Where::kMiss);
  payload->Arrive();
  EXPECT_EQ(slow->WaitFor<transport::WriteReply>().committed, 1u);
  node().ExpectServed(header);
}

TEST_F(ReservePayloadTest, ASessionThatDiesBeforeItsPayloadIsThereCommitsNothing) {
  const auto header = node().Segment(1);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  options.hold_receive = true;
  const auto reserve = node().Send(WithRows({header}, 1, 2), options);
  const auto payload = node().last_payload();
  payload->AwaitAsked();
  node().service_->OnClose(kSession);
  payload->Arrive();
  EXPECT_FALSE(reserve->WaitStatus().ok());
  EXPECT_EQ(node().Stats().reservations, 0u);
  EXPECT_EQ(node().Stats().used_bytes, 0u);
}

TEST_F(ReservePayloadTest, APayloadWaitsForRoomWithItsReserve) {
  const auto held = node().Reserve(node().Segment(1, 64 * 16), kOther);
  const auto header = node().Segment(2);
  FakeCallOptions options = node().Options();
  options.payload = node().Rows(header, 0, 2);
  const auto waiting = node().Send(WithRows({header}, 1, 2), options);
  EXPECT_FALSE(waiting->answered());
  EXPECT_TRUE(node().Send(transport::AbortRequest{{held}}, kOther)->WaitStatus().ok());
  EXPECT_EQ(waiting->WaitFor<ReserveReply>().committed, 1u);
  node().ExpectServed(header);
}

TEST_F(ReservePayloadTest, AWrongPayloadDoesNotWaitForRoom) {
  const auto held = node().Reserve(node().Segment(1, 64 * 16), kOther);
  const auto header = node().Segment(2);
  FakeCallOptions options = node().Options();
  options.payload = std::vector<std::byte>(node().Rows(header, 0, 2).size() + 1);
  const auto refused = node().Send(WithRows({header}, 1, 2), options);
  EXPECT_TRUE(refused->answered());
  EXPECT_EQ(refused->WaitStatus().code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(node().Send(transport::AbortRequest{{held}}, kOther)->WaitStatus().ok());
}

}  // namespace
}  // namespace cistern::cacheserver
