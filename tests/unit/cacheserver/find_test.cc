// Find: hits, leases on the way, and what lies beside the gaps.
#include "gmock/gmock.h"

#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using transport::FindReply;
using transport::FindRequest;
using transport::Match;
using transport::Neighbour;
using transport::Where;

class FindTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
};

TEST_F(FindTest, NamesHitsInOrderAndLeasesThem) {
  const auto a = node().Segment(1), b = node().Segment(2, 20, &a), c = node().Segment(3, 16, &b);
  node().Publish(a);
  node().Publish(c);
  const FindReply reply = node().Find({a, b, c}, /*lease=*/true);
  ASSERT_EQ(reply.results.size(), 3u);
  EXPECT_EQ(reply.results[0].where, Where::kMemory);
  EXPECT_EQ(reply.results[0].match, Match::kExact);
  EXPECT_EQ(reply.results[1].where, Where::kMiss);
  EXPECT_EQ(reply.results[2].where, Where::kMemory);
  const auto& object = reply.objects.at(reply.results[2].object);
  EXPECT_EQ(reply.HeaderOf(object), c);
  EXPECT_NE(object.lease, 0u);
  EXPECT_EQ(reply.BlocksOf(object).size(), 1u);
  EXPECT_EQ(node().Stats().leases, 2u);
}

TEST_F(FindTest, WithoutLeaseNothingIsPinned) {
  const auto a = node().Segment(1);
  node().Publish(a);
  const FindReply reply = node().Find({a}, /*lease=*/false);
  EXPECT_EQ(reply.objects.at(0).lease, 0u);
  EXPECT_TRUE(reply.BlocksOf(reply.objects.at(0)).empty());
  EXPECT_EQ(node().Stats().leases, 0u);
}

TEST_F(FindTest, TheSameObjectTwiceIsDescribedAndLeasedOnce) {
  const auto a = node().Segment(1), other_past = node().Segment(9),
             b = node().Segment(1, 16, &other_past);
  node().Publish(a);
  const FindReply reply = node().Find({a, b}, /*lease=*/true, /*accept_content=*/true);
  EXPECT_EQ(reply.results[0].match, Match::kExact);
  EXPECT_EQ(reply.results[1].match, Match::kContent);
  EXPECT_EQ(reply.results[0].object, reply.results[1].object);
  EXPECT_EQ(reply.objects.size(), 1u);
  EXPECT_EQ(node().Stats().leases, 1u);
}

TEST_F(FindTest, OnDiskIsSaidAndNotLeased) {
  const auto a = node().Segment(1);
  node().Publish(a);
  node().MoveToDisk({a});
  const FindReply reply = node().Find({a}, /*lease=*/true);
  EXPECT_EQ(reply.results[0].where, Where::kDisk);
  EXPECT_EQ(reply.objects.at(0).lease, 0u);
}

TEST_F(FindTest, AtTheStartWhatMayContinueTheStartIsDescribed) {
  const auto a = node().Segment(1, 40);
  node().Publish(a);
  const FindReply reply = node().Find({node().Segment(2, 48)});
  ASSERT_EQ(reply.neighbours.size(), 1u);
  EXPECT_EQ(reply.neighbours[0].item, -1);
  EXPECT_TRUE(reply.neighbours[0].after);
  EXPECT_EQ(reply.neighbours[0].match, Match::kExact);
  EXPECT_EQ(reply.HeaderOf(reply.objects.at(reply.neighbours[0].object)), a);
  EXPECT_EQ(reply.objects.at(0).lease, 0u);
}

TEST_F(FindTest, AfterAHitItsContinuationsAreDescribed) {
  const auto a = node().Segment(1), b = node().Segment(2, 30, &a),
             asked = node().Segment(3, 16, &a);
  node().Publish(a);
  node().Publish(b);
  const FindReply reply = node().Find({a, asked});
  ASSERT_EQ(reply.neighbours.size(), 1u);
  EXPECT_EQ(reply.neighbours[0].item, 0);
  EXPECT_TRUE(reply.neighbours[0].after);
  EXPECT_EQ(reply.HeaderOf(reply.objects.at(reply.neighbours[0].object)), b);
}

TEST_F(FindTest, AfterAContentHitItsOwnContinuationsCountAsContent) {
  const auto past = node().Segment(7), a = node().Segment(1, 16, &past),
             b = node().Segment(2, 16, &a);
  node().Publish(a);
  node().Publish(b);
  const auto moved = node().Segment(1), next = node().Segment(5, 16, &moved);  // without that past
  const FindReply reply = node().Find({moved, next}, false, /*accept_content=*/true);
  EXPECT_EQ(reply.results[0].match, Match::kContent);
  ASSERT_EQ(reply.neighbours.size(), 1u);
  EXPECT_EQ(reply.neighbours[0].match, Match::kContent);
  EXPECT_EQ(reply.HeaderOf(reply.objects.at(reply.neighbours[0].object)), b);

  const FindReply exact_only = node().Find({moved, next}, false, /*accept_content=*/false);
  EXPECT_TRUE(exact_only.neighbours.empty());
}

TEST_F(FindTest, BeforeAHitWhatPrecededItThereIsDescribed) {
  const auto past = node().Segment(7, 40), a = node().Segment(1, 16, &past);
  node().Publish(past);
  node().Publish(a);
  const auto edited = node().Segment(8, 40), moved = node().Segment(1, 16, &edited);
  const FindReply reply = node().Find({edited, moved}, false, /*accept_content=*/true);
  EXPECT_EQ(reply.results[0].where, Where::kMiss);
  EXPECT_EQ(reply.results[1].match, Match::kContent);
  const auto before = std::find_if(reply.neighbours.begin(), reply.neighbours.end(),
                                   [](const Neighbour& n) { return !n.after; });
  ASSERT_NE(before, reply.neighbours.end());
  EXPECT_EQ(before->item, 1);
  EXPECT_EQ(before->match, Match::kContent);
  EXPECT_EQ(reply.HeaderOf(reply.objects.at(before->object)), past);
}

TEST_F(FindTest, ALinkedContextIsFoundAsApproximate) {
  const auto a = node().Segment(1), other = node().Segment(9),
             moved = node().Segment(1, 16, &other);
  node().Publish(a);
  const auto linked = node().Send(transport::LinkRequest{
      {{node().IdOf(a), moved.context, moved.parent_context}, {12345, moved.context, {}}}});
  EXPECT_EQ(linked->WaitFor<transport::LinkReply>().linked, 1u) << "one of the two is gone";
  const FindReply reply = node().Find({moved});
  EXPECT_EQ(reply.results[0].match, Match::kExact);
  EXPECT_EQ(reply.results[0].lineage, base::Lineage::kApproximate);
}

// Numbers of objects can be guessed; what lies behind them cannot be linked without its content
// key.
TEST_F(FindTest, AnObjectIsNotLinkedToAContextThatIsNotItsOwn) {
  const auto a = node().Segment(1), other = node().Segment(9), more = node().Segment(2, 16, &other);
  node().Publish(a);
  const auto id = node().IdOf(a);
  const auto linked =
      node().Send(transport::LinkRequest{{{id, more.context, more.parent_context},
                                          {id, more.context, {}},
                                          {id + 1, more.context, more.parent_context},
                                          {id, {}, {}}}});
  EXPECT_EQ(linked->WaitFor<transport::LinkReply>().linked, 0u);
  EXPECT_EQ(node().WhereIs(more), Where::kMiss);
  EXPECT_EQ(node().Stats().links, 0u);
}

TEST_F(FindTest, AnUnknownModelIsAskedToBeRegistered) {
  FindRequest request;
  request.model = base::HashBytes("nobody");
  const absl::Status status = node().Send(request)->WaitStatus();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("register it"));
  EXPECT_EQ(node().Errors(2, absl::StatusCode::kFailedPrecondition), 1u);
}

TEST_F(FindTest, ASessionsLeaseLimitLeavesHitsWithoutLease) {
  WorldOptions options;
  options.config.max_leases_per_session = 1;
  Make(options);
  const auto a = node().Segment(1), b = node().Segment(2);
  node().Publish(a);
  node().Publish(b);
  const FindReply reply = node().Find({a, b}, /*lease=*/true);
  EXPECT_EQ(reply.results[1].where, Where::kMemory);
  EXPECT_NE(reply.objects[0].lease, 0u);
  EXPECT_EQ(reply.objects[1].lease, 0u);
  EXPECT_EQ(node().counters_.limited, 1u);
}

}  // namespace
}  // namespace cistern::cacheserver
