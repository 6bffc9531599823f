// Blobs between clients and a node in this process: mapped, by copy, and when the link misbehaves.
#include "cistern/blobs.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "cacheserver/embedded.h"
#include "cistern/client.h"
#include "transport/fake/faulty_link.h"

namespace cistern {
namespace {

using cacheserver::EmbeddedNode;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using transport::Fault;
using transport::FaultyLink;
using Bytes = std::vector<std::byte>;
using Names = std::vector<absl::string_view>;

constexpr absl::Duration kSoon = absl::Seconds(20);

Bytes RandomBytes(size_t count, uint64_t seed) {
  std::minstd_rand random(static_cast<uint32_t>(seed + 1));
  Bytes bytes(count);
  for (size_t at = 0; at < count; at += 4096) {  // pages that differ in their first bytes
    const uint32_t word = random();
    std::memset(bytes.data() + at, static_cast<int>(word >> 16),
                std::min<size_t>(4096, count - at));
    std::memcpy(bytes.data() + at, &word, std::min<size_t>(sizeof(word), count - at));
  }
  return bytes;
}

template <typename RequestType>
bool Is(const transport::Request& request) {
  return std::holds_alternative<RequestType>(request);
}

struct BlobsSetting {
  bool mapped = true;
};

class BlobsTest : public ::testing::TestWithParam<BlobsSetting> {
 protected:
  void SetUp() override {
    config_ = cacheserver::EmbeddedConfig();
    config_.pool_bytes = 64 << 20;
    StartNode();
    client_ = NewClient({});
  }
  void StartNode() {
    client_.reset();
    node_.reset();
    auto node = EmbeddedNode::Start(config_);
    ASSERT_TRUE(node.ok()) << node.status();
    node_ = *std::move(node);
  }
  std::unique_ptr<Client> NewClient(const ClientOptions& options) {
    auto link = node_->Connect({.want_mapping = GetParam().mapped});
    EXPECT_TRUE(link.ok()) << link.status();
    auto faulty = FaultyLink::Wrap(*std::move(link));
    EXPECT_TRUE(faulty.ok()) << faulty.status();
    link_ = faulty->get();
    auto client = Client::Over(*std::move(faulty), options);
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  Blobs& blobs() { return client_->blobs(); }

  PutOutcome PutOne(absl::string_view name, const Bytes& bytes) {
    const BlobSource source{name, bytes};
    const auto put = blobs().Put({&source, 1}, kSoon);
    EXPECT_TRUE(put.ok()) << put.status();
    return put.ok() ? put->at(0) : PutOutcome::kDropped;
  }
  GetOutcome GetOne(absl::string_view name, Bytes* bytes) {
    const BlobTarget target{name, *bytes};
    const auto got = blobs().Get({&target, 1}, kSoon);
    EXPECT_TRUE(got.ok()) << got.status();
    return got.ok() ? got->at(0) : GetOutcome::kMissing;
  }
  void ExpectHeld(absl::string_view name, const Bytes& bytes) {
    Bytes read(bytes.size());
    EXPECT_EQ(GetOne(name, &read), GetOutcome::kFilled) << name;
    EXPECT_TRUE(read == bytes) << name;
  }

  cacheserver::NodeConfig config_;
  std::unique_ptr<EmbeddedNode> node_;
  std::unique_ptr<Client> client_;
  FaultyLink* link_ = nullptr;  // of the last client
};

INSTANTIATE_TEST_SUITE_P(
    Ways, BlobsTest, ::testing::Values(BlobsSetting{.mapped = true}, BlobsSetting{.mapped = false}),
    [](const auto& param) { return param.param.mapped ? "Mapped" : "Copied"; });

TEST_P(BlobsTest, WhatWasPutComesBackInAnySize) {
  const std::vector<size_t> sizes = {1, 1000, 65535, 65536, 65537, 1 << 20, (5 << 20) + 3};
  for (const size_t size : sizes) {
    const std::string name = absl::StrCat("blob of ", size);
    EXPECT_EQ(PutOne(name, RandomBytes(size, size)), PutOutcome::kStored);
    ExpectHeld(name, RandomBytes(size, size));
  }
}

// More than one unit and more than one Find; every other one was there before.
TEST_P(BlobsTest, ABatchIsAnsweredOneByOne) {
  constexpr size_t kCount = 1500;
  config_.pool_bytes = 256 << 20;
  StartNode();
  client_ = NewClient({});
  std::vector<std::string> names;
  std::vector<Bytes> bytes;
  for (size_t i = 0; i < kCount; ++i) {
    names.push_back(absl::StrCat("block ", i));
    bytes.push_back(RandomBytes(1 + i * 7, i));
    if (i % 2 == 1) {
      EXPECT_EQ(PutOne(names[i], bytes[i]), PutOutcome::kStored);
    }
  }
  std::vector<BlobSource> sources;
  for (size_t i = 0; i < kCount; ++i) sources.push_back({names[i], bytes[i]});
  const auto put = blobs().Put(sources, kSoon);
  ASSERT_TRUE(put.ok()) << put.status();
  for (size_t i = 0; i < kCount; ++i)
    EXPECT_EQ(put->at(i), i % 2 == 1 ? PutOutcome::kHad : PutOutcome::kStored) << i;

  std::vector<Bytes> memory;
  for (const Bytes& one : bytes) memory.emplace_back(one.size());
  memory[10].resize(3);
  names[11] = "never put";
  std::vector<BlobTarget> targets;
  for (size_t i = 0; i < kCount; ++i) targets.push_back({names[i], memory[i]});
  const auto got = blobs().Get(targets, kSoon);
  ASSERT_TRUE(got.ok()) << got.status();
  for (size_t i = 0; i < kCount; ++i) {
    if (i == 10) {
      EXPECT_EQ(got->at(i), GetOutcome::kOtherSize);
    } else if (i == 11) {
      EXPECT_EQ(got->at(i), GetOutcome::kMissing);
    } else {
      EXPECT_EQ(got->at(i), GetOutcome::kFilled) << i;
      EXPECT_TRUE(memory[i] == bytes[i]) << i;
    }
  }
  const Names asked(names.begin(), names.end());
  const auto sizes = blobs().Find(asked, kSoon);
  ASSERT_TRUE(sizes.ok()) << sizes.status();
  for (size_t i = 0; i < kCount; ++i) EXPECT_EQ(sizes->at(i), i == 11 ? 0 : bytes[i].size()) << i;
}

TEST_P(BlobsTest, TheFirstBytesUnderANameStay) {
  EXPECT_EQ(PutOne("name", RandomBytes(100, 1)), PutOutcome::kStored);
  EXPECT_EQ(PutOne("name", RandomBytes(100, 2)), PutOutcome::kHad);
  ExpectHeld("name", RandomBytes(100, 1));
}

TEST_P(BlobsTest, ANameTwiceInACall) {
  const Bytes bytes = RandomBytes(100, 1), others = RandomBytes(100, 2);
  const std::vector<BlobSource> sources = {{"name", bytes}, {"name", others}};
  const auto put = blobs().Put(sources, kSoon);
  ASSERT_TRUE(put.ok()) << put.status();
  EXPECT_THAT(*put, ElementsAre(PutOutcome::kStored, PutOutcome::kHad));
  Bytes first(100), second(100);
  const std::vector<BlobTarget> targets = {{"name", first}, {"name", second}};
  const auto got = blobs().Get(targets, kSoon);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(*got, Each(GetOutcome::kFilled));
  EXPECT_TRUE(first == bytes && second == bytes);
}

TEST_P(BlobsTest, NamesBelongToTheSalt) {
  EXPECT_EQ(PutOne("name", RandomBytes(100, 1)), PutOutcome::kStored);
  const std::unique_ptr<Client> other = NewClient({.salt = "another tenant"});
  const absl::string_view name = "name";
  EXPECT_THAT(*other->blobs().Find({&name, 1}, kSoon), ElementsAre(0));
  const Bytes theirs = RandomBytes(100, 2);
  const BlobSource source{name, theirs};
  EXPECT_THAT(*other->blobs().Put({&source, 1}, kSoon), ElementsAre(PutOutcome::kStored));
  ExpectHeld("name", RandomBytes(100, 1));
}

TEST_P(BlobsTest, WhatIsOnDiskComesBack) {
  std::string name = ::testing::TempDir() + "cistern_blobs_XXXXXX";
  const std::filesystem::path directory = mkdtemp(name.data());
  config_.disk_path = directory.string();
  config_.flush_on_stop = true;
  StartNode();
  client_ = NewClient({});
  for (uint64_t i = 0; i < 8; ++i)
    EXPECT_EQ(PutOne(absl::StrCat(i), RandomBytes((9 << 20) + i, i)), PutOutcome::kStored);
  StartNode();  // 72 MiB do not fit into its memory at once
  client_ = NewClient({});
  for (uint64_t i = 0; i < 8; ++i) ExpectHeld(absl::StrCat(i), RandomBytes((9 << 20) + i, i));
  client_.reset();
  node_.reset();
  std::filesystem::remove_all(directory);
}

TEST_P(BlobsTest, WhatDoesNotFitIsDropped) {
  EXPECT_EQ(PutOne("large", Bytes(65 << 20)), PutOutcome::kDropped);
  EXPECT_EQ(PutOne("small", Bytes(10)), PutOutcome::kStored);
}

TEST_P(BlobsTest, WrongSizesAreRefusedBeforeAnythingIsSent) {
  const Bytes good(10);
  const std::vector<BlobSource> empty = {{"good", good}, {"empty", {}}};
  EXPECT_EQ(blobs().Put(empty, kSoon).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(link_->calls(), 0u);
  const std::unique_ptr<Client> small = NewClient({.max_staging_bytes = 1 << 20});
  const Bytes large((1 << 20) + 1);
  const BlobSource source{"large", large};
  const absl::Status refused = small->blobs().Put({&source, 1}, kSoon).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("max_staging_bytes is 1048576"));
  EXPECT_EQ(link_->calls(), 0u);
}

// What comes by copy has to fit through this client's buffers; what is mapped need not.
TEST_P(BlobsTest, ABlobThatIsLargerThanAllBuffers) {
  const Bytes bytes = RandomBytes(5 << 20, 1);
  EXPECT_EQ(PutOne("large", bytes), PutOutcome::kStored);
  const std::unique_ptr<Client> small = NewClient({.max_staging_bytes = 3 << 20});
  Bytes read(bytes.size());
  const BlobTarget target{"large", read};
  const auto got = small->blobs().Get({&target, 1}, kSoon);
  if (GetParam().mapped) {
    EXPECT_THAT(*got, ElementsAre(GetOutcome::kFilled));
    EXPECT_TRUE(read == bytes);
  } else {
    EXPECT_EQ(got.status().code(), absl::StatusCode::kResourceExhausted) << got.status();
  }
}

TEST_P(BlobsTest, NoTimeIsAnError) {
  if (!GetParam().mapped) GTEST_SKIP() << "a call has a millisecond at least, which is enough";
  const Bytes bytes = RandomBytes(1 << 20, 1);
  EXPECT_EQ(PutOne("name", bytes), PutOutcome::kStored);
  Bytes read(bytes.size());
  const BlobTarget target{"name", read};
  EXPECT_EQ(blobs().Get({&target, 1}, absl::ZeroDuration()).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_P(BlobsTest, PinnedBlobsOutliveWhatComesBehindThem) {
  EXPECT_EQ(PutOne("pinned", RandomBytes(1000, 1)), PutOutcome::kStored);
  EXPECT_EQ(PutOne("not pinned", RandomBytes(1000, 2)), PutOutcome::kStored);
  const Names names = {"pinned", "unknown"};
  EXPECT_EQ(*blobs().Pin(names, true, kSoon), 1u);
  for (uint64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(PutOne(absl::StrCat("flood ", i), RandomBytes(16 << 20, i)), PutOutcome::kStored);
  }
  ExpectHeld("pinned", RandomBytes(1000, 1));
  const Names both = {"pinned", "not pinned"};
  EXPECT_THAT(*blobs().Find(both, kSoon), ElementsAre(1000, 0));
  EXPECT_EQ(*blobs().Pin(names, false, kSoon), 1u);
}

TEST_P(BlobsTest, AViewReadsInPlaceAndKeepsItsLease) {
  const Bytes bytes = RandomBytes((3 << 20) + 5, 1);
  EXPECT_EQ(PutOne("name", bytes), PutOutcome::kStored);
  const Names names = {"name", "unknown"};
  auto views = blobs().View(names, kSoon);
  if (!GetParam().mapped) {
    EXPECT_EQ(views.status().code(), absl::StatusCode::kFailedPrecondition);
    return;
  }
  ASSERT_TRUE(views.ok()) << views.status();
  EXPECT_FALSE(views->at(1).found());
  EXPECT_FALSE(views->at(1).StillThere());
  BlobView view = std::move(views->at(0));
  ASSERT_TRUE(view.found());
  EXPECT_EQ(view.size(), bytes.size());
  for (uint64_t i = 0; i < 20; ++i)  // what is leased is not evicted
    PutOne(absl::StrCat("flood ", i), RandomBytes(16 << 20, i));
  Bytes read;
  for (const auto run : view.runs()) read.insert(read.end(), run.begin(), run.end());
  EXPECT_TRUE(view.StillThere());
  EXPECT_TRUE(read == bytes);
  view = BlobView();
  for (uint64_t i = 20; i < 30; ++i) PutOne(absl::StrCat("flood ", i), RandomBytes(16 << 20, i));
  EXPECT_THAT(*blobs().Find({names.data(), 1}, kSoon), ElementsAre(0));
}

TEST_P(BlobsTest, ADamagedPayloadIsNotThere) {
  if (GetParam().mapped) GTEST_SKIP() << "nothing is sent";
  const Bytes bytes = RandomBytes(1000, 1);
  EXPECT_EQ(PutOne("name", bytes), PutOutcome::kStored);
  link_->Inject({.kind = Fault::Kind::kFail,
                 .status = absl::DataLossError("the checksum does not fit"),
                 .applies = Is<transport::ReadRequest>});
  Bytes read(1000);
  EXPECT_EQ(GetOne("name", &read), GetOutcome::kMissing);
  EXPECT_EQ(client_->stats().checksum_failures, 1u);
  ExpectHeld("name", bytes);
}

// Whichever call dies: an error, nothing held, and the next call is right.
TEST_P(BlobsTest, LostCallsAreErrorsAndNothingIsHeld) {
  const Bytes bytes = RandomBytes(1000, 1);
  EXPECT_EQ(PutOne("name", bytes), PutOutcome::kStored);
  const Bytes more = RandomBytes(1000, 2);
  const BlobSource source{"more", more};
  link_->Inject({.kind = Fault::Kind::kDropReply, .applies = Is<transport::ReserveRequest>});
  EXPECT_EQ(blobs().Put({&source, 1}, absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(PutOne("more", more), PutOutcome::kHad) << "the node had answered";

  Bytes read(1000);
  const BlobTarget target{"name", read};
  link_->Inject({.kind = Fault::Kind::kDropReply, .applies = Is<transport::FindRequest>});
  EXPECT_EQ(blobs().Get({&target, 1}, absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  ExpectHeld("name", bytes);
  link_->Die();
  EXPECT_EQ(blobs().Get({&target, 1}, kSoon).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(blobs().Find({}, kSoon).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->stats().publish_failures, 1u);
  EXPECT_EQ(client_->stats().fetch_failures, 2u);
}

}  // namespace
}  // namespace cistern
