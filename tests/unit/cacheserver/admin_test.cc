// What administrators ask and order.
#include "gmock/gmock.h"

#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {
namespace {

using absl::StatusCode;
using testing::HasSubstr;
using transport::AdminReply;
using transport::AdminRequest;
using transport::AdminVerb;
using transport::Where;
using Json = nlohmann::json;

class AdminTest : public ServiceTest {
 protected:
  void SetUp() override { Make(); }
  Json Ask(const AdminRequest& request) {
    return Json::parse(node().Send(request)->WaitFor<AdminReply>().json);
  }
  StatusCode Refused(const AdminRequest& request, transport::SessionId session = kSession) {
    return node().Send(request, session)->WaitStatus().code();
  }
};

TEST_F(AdminTest, StatusTellsHowMuchOfTheDisksIndexIsThere) {
  EXPECT_TRUE(Ask({.verb = AdminVerb::kStatus}).at("disk").at("loading").is_null());
  node().memory_disk_->SetLoading(7, 20);
  const Json loading = Ask({.verb = AdminVerb::kStatus}).at("disk").at("loading");
  EXPECT_EQ(loading.at("loaded"), 7);
  EXPECT_EQ(loading.at("of"), 20);
  EXPECT_EQ(loading.at("error"), "");
}

TEST_F(AdminTest, StatusCountsWhatThereIs) {
  const auto header = node().Segment(1, 32);
  node().Publish(header);
  node().Lease(header, kOther);
  node().Reserve(node().Segment(2));
  const Json status = Ask({.verb = AdminVerb::kStatus});
  EXPECT_EQ(status.at("memory").at("arena_bytes"), 64 * kPageBytes);
  EXPECT_EQ(status.at("memory").at("used_bytes"), 3 * kPageBytes);
  EXPECT_EQ(status.at("memory").at("objects"), 1);
  EXPECT_EQ(status.at("leases"), 1);
  EXPECT_EQ(status.at("reservations"), 1);
  EXPECT_EQ(status.at("sessions").at("list").at(0).at("reservations"), 1);
  EXPECT_EQ(status.at("sessions").at("list").at(1).at("leases"), 1);
  EXPECT_EQ(status.at("totals").at("commits"), 1);
  EXPECT_EQ(status.at("disk").at("records"), 0);
  EXPECT_EQ(status.at("calls").at("by_kind").at("write").at("calls"), 1);
}

TEST_F(AdminTest, ErrorsAreCountedByKindAndCode) {
  node().Send(transport::CommitRequest{{1}})->Wait();
  node().Send(transport::CommitRequest{{2}})->Wait();
  const Json status = Ask({.verb = AdminVerb::kStatus});
  EXPECT_EQ(status.at("calls").at("by_kind").at("commit").at("errors").at("FAILED_PRECONDITION"),
            2);
  EXPECT_EQ(status.at("calls").at("errors"), 2);
}

TEST_F(AdminTest, ModelsAreDescribed) {
  const Json models = Ask({.verb = AdminVerb::kModels}).at("models");
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].at("name"), "test/model");
  EXPECT_EQ(models[0].at("fingerprint"), node().model_.Fingerprint().ToHex());
  EXPECT_EQ(models[0].at("token_bytes"), 64);
}

TEST_F(AdminTest, AListingComesInPages) {
  for (uint32_t i = 1; i <= 5; ++i) node().Publish(node().Segment(i));
  AdminRequest request{.verb = AdminVerb::kList, .limit = 2};
  std::vector<uint64_t> ids;
  for (int page = 0; page < 3; ++page) {
    const Json json = Ask(request);
    for (const Json& object : json.at("objects")) ids.push_back(object.at("id"));
    request.cursor = json.at("next");
  }
  EXPECT_EQ(request.cursor, 0u);
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
}

TEST_F(AdminTest, AListingOfAModelByItsName) {
  node().Publish(node().Segment(1));
  base::ModelSpec other = node().model_;
  other.revision = "other";
  node().Send(transport::RegisterModelRequest{other.ToJson()})->Wait();
  EXPECT_EQ(Ask({.verb = AdminVerb::kList, .model_name = "test/model"}).at("objects").size(), 1u);
  EXPECT_EQ(Ask({.verb = AdminVerb::kList, .model = other.Fingerprint()}).at("objects").size(), 0u);
  EXPECT_EQ(Refused({.verb = AdminVerb::kList, .model_name = "nobody"}), StatusCode::kNotFound);
}

TEST_F(AdminTest, InspectTellsAllOfAnObject) {
  const auto a = node().Segment(1), b = node().Segment(2, 20, &a);
  node().Publish(b);
  const Json object = Ask({.verb = AdminVerb::kInspect, .key = b.content}).at("objects").at(0);
  EXPECT_EQ(object.at("context"), b.context.ToHex());
  EXPECT_EQ(object.at("base_position"), 16);
  EXPECT_EQ(object.at("bytes"), 20 * 64);
  EXPECT_EQ(object.at("token_ids"), b.tokens);
  EXPECT_EQ(Refused({.verb = AdminVerb::kInspect, .key = base::HashBytes("x")}),
            StatusCode::kNotFound);
  EXPECT_EQ(Refused({.verb = AdminVerb::kInspect}), StatusCode::kInvalidArgument);
}

TEST_F(AdminTest, EvictWantsToKnowWhat) {
  const auto a = node().Segment(1), b = node().Segment(2);
  node().Publish(a);
  node().Publish(b);
  EXPECT_EQ(Refused({.verb = AdminVerb::kEvict}), StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .tenant = 5, .has_tenant = true}).at("evicted"), 0);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .key = a.context}).at("evicted"), 1);
  EXPECT_EQ(node().WhereIs(a), Where::kMiss);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .all = true}).at("evicted"), 1);
  EXPECT_EQ(node().WhereIs(b), Where::kMiss);
}

TEST_F(AdminTest, PinnedAndLeasedObjectsStay) {
  const auto pinned = node().Segment(1), leased = node().Segment(2);
  node().Publish(pinned);
  node().Publish(leased);
  node().Lease(leased);
  EXPECT_EQ(Ask({.verb = AdminVerb::kPin, .key = pinned.content}).at("pinned"), 1);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .all = true}).at("evicted"), 0);
  EXPECT_EQ(Ask({.verb = AdminVerb::kUnpin, .key = pinned.content}).at("unpinned"), 1);
  EXPECT_EQ(Ask({.verb = AdminVerb::kEvict, .all = true}).at("evicted"), 1);
  EXPECT_EQ(Refused({.verb = AdminVerb::kPin, .key = pinned.content}), StatusCode::kNotFound);
}

TEST_F(AdminTest, VerifyFindsDamageOnDiskAndDropsIt) {
  const auto good = node().Segment(1, 20), bad = node().Segment(2);
  node().Publish(good);
  node().Publish(bad);
  node().MoveToDisk({good, bad});
  const Json clean = Ask({.verb = AdminVerb::kVerify});
  EXPECT_EQ(clean.at("checked"), 2);
  EXPECT_EQ(clean.at("records_read"), 2);
  EXPECT_TRUE(clean.at("wrong").empty());
  EXPECT_EQ(clean.at("invariants"), "ok");

  node().memory_disk_->Damage(bad);
  const Json damaged = Ask({.verb = AdminVerb::kVerify});
  ASSERT_EQ(damaged.at("wrong").size(), 1u);
  EXPECT_EQ(damaged.at("wrong").at(0).at("content"), bad.content.ToHex());
  EXPECT_EQ(node().WhereIs(bad), Where::kMiss);
  EXPECT_EQ(node().WhereIs(good), Where::kDisk);
}

TEST_F(AdminTest, VerifyComparesMemoryWithDisk) {
  const auto header = node().Segment(1, 20), young = node().Segment(2);
  node().Publish(header);
  Ask({.verb = AdminVerb::kFlush});
  node().Publish(young);
  const Json clean = Ask({.verb = AdminVerb::kVerify});
  EXPECT_EQ(clean.at("compared_with_memory"), 1);
  EXPECT_EQ(clean.at("memory_only"), 1);
  EXPECT_TRUE(clean.at("wrong").empty());
  EXPECT_EQ(node().Stats().leases, 0u);
}

TEST_F(AdminTest, ADamagedRecordOfWhatIsInMemoryIsWrittenAgain) {
  const auto header = node().Segment(1, 20);
  node().Publish(header);
  Ask({.verb = AdminVerb::kFlush});
  node().memory_disk_->Damage(header);
  EXPECT_EQ(Ask({.verb = AdminVerb::kVerify}).at("wrong").size(), 1u);
  EXPECT_EQ(node().WhereIs(header), Where::kMemory);
  EXPECT_EQ(Ask({.verb = AdminVerb::kFlush}).at("flushed_objects"), 1);
  const Json again = Ask({.verb = AdminVerb::kVerify});
  EXPECT_TRUE(again.at("wrong").empty()) << again;
  EXPECT_EQ(again.at("compared_with_memory"), 1);
}

// The record has a checksum: when it is sound, memory is what is wrong, and must not be written
// over it.
TEST_F(AdminTest, DamagedMemoryGivesWayToASoundRecord) {
  const auto header = node().Segment(1, 20);
  node().Publish(header);
  Ask({.verb = AdminVerb::kFlush});
  const auto held = node()
                        .Send(transport::LeaseRequest{{node().IdOf(header)}})
                        ->WaitFor<transport::LeaseReply>()
                        .results.at(0);
  node().arena_->At(held.blocks.at(0).offset)[100] ^= std::byte{1};
  ASSERT_TRUE(node().Send(transport::ReleaseRequest{{held.lease}})->WaitStatus().ok());
  const Json json = Ask({.verb = AdminVerb::kVerify});
  ASSERT_EQ(json.at("wrong").size(), 1u);
  EXPECT_THAT(json.at("wrong").at(0).at("error").get<std::string>(), HasSubstr("memory"));
  EXPECT_EQ(node().WhereIs(header), Where::kDisk);
  EXPECT_EQ(node().Stats().leases, 0u);
  const auto lease = node().Lease(header);
  const auto read = node().Send(transport::ReadRequest{{lease}, 0, 2});
  read->Wait();
  EXPECT_EQ(read->Payload(), node().Rows(header, 0, 2));
}

// An exact object has taken the place of an approximate one; the other one's record is still there.
TEST_F(AdminTest, VerifyComparesAnObjectWithItsOwnRecordOnly) {
  auto header = node().Segment(1, 20);
  header.lineage = base::Lineage::kApproximate;
  const auto id = node().Reserve(header);
  std::vector<std::byte> rows = node().Rows(header, 0, 2);
  rows[100] ^= std::byte{1};
  ASSERT_TRUE(node().Write(id, rows, 0, 2)->WaitStatus().ok());
  ASSERT_TRUE(node().Send(transport::CommitRequest{{id}})->WaitStatus().ok());
  Ask({.verb = AdminVerb::kFlush});
  ASSERT_EQ(Ask({.verb = AdminVerb::kVerify}).at("compared_with_memory"), 1);
  node().disk_->FailDeletes(absl::UnavailableError("busy"));
  header.lineage = base::Lineage::kExact;
  node().Publish(header);
  ASSERT_EQ(node().memory_disk_->records(), 1u);
  const Json json = Ask({.verb = AdminVerb::kVerify});
  EXPECT_TRUE(json.at("wrong").empty()) << json;
  EXPECT_EQ(json.at("compared_with_memory"), 0);
  EXPECT_EQ(json.at("memory_only"), 1);
  EXPECT_EQ(node().WhereIs(header), Where::kMemory);
}

// The same while verify reads the record.
TEST_F(AdminTest, AnObjectThatIsReplacedWhileItIsVerifiedIsNotWrong) {
  auto header = node().Segment(1, 20);
  header.lineage = base::Lineage::kApproximate;
  node().Publish(header);
  Ask({.verb = AdminVerb::kFlush});
  node().disk_->Block();
  const auto verify = node().Send(AdminRequest{.verb = AdminVerb::kVerify});
  node().disk_->AwaitBlocked(1);
  header.lineage = base::Lineage::kExact;
  node().Publish(header);
  node().disk_->CorruptReads(true);  // whatever comes, it is not this object's
  node().disk_->Release();
  const Json json = Json::parse(verify->WaitFor<AdminReply>().json);
  EXPECT_TRUE(json.at("wrong").empty()) << json;
  EXPECT_EQ(json.at("records_read"), 0);
  node().disk_->CorruptReads(false);
}

TEST_F(AdminTest, AStoppingNodeDoesNotWaitForVerify) {
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 1; i <= 3; ++i) headers.push_back(node().Segment(i));
  for (const auto& header : headers) node().Publish(header);
  node().MoveToDisk(headers);
  node().disk_->Block();
  const auto verify = node().Send(AdminRequest{.verb = AdminVerb::kVerify});
  node().disk_->AwaitBlocked(1);
  EXPECT_FALSE(node().service_->Drain(absl::ZeroDuration()));
  node().disk_->Release();
  const Json json = Json::parse(verify->WaitFor<AdminReply>().json);
  EXPECT_EQ(json.at("checked"), 1);
  EXPECT_NE(json.at("next"), 0);
  EXPECT_NE(json.at("invariants"), "ok") << "they were not looked at";
}

TEST_F(AdminTest, ALongVerifyGoesOnWhereItStopped) {
  for (uint32_t i = 1; i <= 3; ++i) node().Publish(node().Segment(i));
  AdminRequest request{.verb = AdminVerb::kVerify, .limit = 2};
  const Json first = Ask(request);
  EXPECT_EQ(first.at("checked"), 2);
  request.cursor = first.at("next");
  EXPECT_NE(request.cursor, 0u);
  const Json second = Ask(request);
  EXPECT_EQ(second.at("checked"), 1);
  EXPECT_EQ(second.at("next"), 0);
}

TEST_F(AdminTest, OrdersFromOtherHostsAreRefusedUnlessAllowed) {
  node().Open(9, "ucx 10.0.0.2:4711");
  EXPECT_EQ(Refused({.verb = AdminVerb::kStatus}, 9), StatusCode::kOk);
  EXPECT_EQ(Refused({.verb = AdminVerb::kEvict, .all = true}, 9), StatusCode::kPermissionDenied);
  WorldOptions options;
  options.config.admin_over_network = true;
  Make(options);
  node().Open(9, "ucx 10.0.0.2:4711");
  EXPECT_EQ(Refused({.verb = AdminVerb::kEvict, .all = true}, 9), StatusCode::kOk);
}

TEST_F(AdminTest, AnUnknownVerbIsRefused) {
  EXPECT_EQ(Refused({.verb = static_cast<AdminVerb>(200)}), StatusCode::kInvalidArgument);
}

TEST_F(AdminTest, AHelloInTheMiddleIsRefused) {
  EXPECT_EQ(node().Send(transport::HelloRequest{})->WaitStatus().code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace cistern::cacheserver
