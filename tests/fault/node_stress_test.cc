// Many workers on a node whose memory is a fraction of what they store, on a real disk tier; some
// of them vanish in the middle of things. Afterwards nothing is held, nothing is damaged, and every
// invariant holds. --seed=N repeats a run.
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "cacheserver/embedded.h"
#include "nlohmann/json.hpp"
#include "tests/integration/node_under_test.h"
#include "tests/model/seed.h"

namespace cistern::cacheserver {
namespace {

constexpr int kWorkers = 4;
constexpr int kSteps = 300;
constexpr uint32_t kTexts = 60;

struct Outcomes {
  std::atomic<int> published{0};
  std::atomic<int> verified{0};
  std::atomic<int> died{0};
};

// Sizes depend on the text, so that all workers mean the same object by it.
base::ObjectHeader Text(uint32_t text) { return TestSegment(text, 1 + text * 37 % 100); }

bool MayHappen(const absl::Status& status) {
  return status.ok() || absl::IsNotFound(status) || absl::IsResourceExhausted(status);
}

void Work(EmbeddedNode& node, uint32_t seed, Outcomes& outcomes) {
  std::mt19937 random(seed);
  auto worker = std::make_unique<Worker>(*node.Connect());
  for (int step = 0; step < kSteps; ++step) {
    const base::ObjectHeader header = Text(1 + random() % kTexts);
    const uint32_t what = random() % 10;
    if (what < 4) {
      const absl::Status status = worker->Publish(header);
      EXPECT_TRUE(MayHappen(status)) << status;
      outcomes.published += status.ok() ? 1 : 0;
    } else if (what < 9) {
      const absl::Status status = worker->Verify(header);
      EXPECT_TRUE(MayHappen(status)) << status;
      outcomes.verified += status.ok() ? 1 : 0;
    } else {
      // Asks for something, and is gone before the answer.
      transport::FindRequest find;
      find.model = header.model;
      find.items = {{header.content, header.context, false}};
      worker->link().Call(find, {}, [](auto) {});
      worker->link().Call(transport::ReserveRequest{{header}}, {}, [](auto) {});
      worker = std::make_unique<Worker>(*node.Connect());
      ++outcomes.died;
    }
  }
}

NodeConfig StressConfig(const Scratch& scratch) {
  NodeConfig config = EmbeddedConfig();
  config.lanes = 2;
  config.pool_bytes = 4 << 20;
  config.disk_path = scratch.Path("disk");
  config.demote_batch_bytes = 1 << 20;
  return config;
}

void Stress(const NodeConfig& config) {
  const auto seed = static_cast<uint32_t>(model_test::GivenSeed().value_or(14));
  SCOPED_TRACE(testing::Message() << "--seed=" << seed);
  auto node = EmbeddedNode::Start(config);
  ASSERT_TRUE(node.ok()) << node.status();

  Outcomes outcomes;
  std::vector<std::thread> threads;
  for (int i = 0; i < kWorkers; ++i)
    threads.emplace_back([&, i] { Work(**node, seed + static_cast<uint32_t>(i), outcomes); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(outcomes.published, 0);
  EXPECT_GT(outcomes.verified, 0);
  EXPECT_GT(outcomes.died, 0);

  Worker admin(*(*node)->Connect());
  const auto ask = [&](transport::AdminVerb verb) {
    const auto reply =
        admin.Call<transport::AdminReply>(transport::AdminRequest{.verb = verb, .all = true});
    EXPECT_TRUE(reply.ok()) << reply.status();
    return nlohmann::json::parse(reply.ok() ? reply->json : "{}");
  };
  Await("dead sessions to end", [&] {
    const auto status = ask(transport::AdminVerb::kStatus);
    return status.at("leases") == 0 && status.at("reservations") == 0;
  });
  const auto verified = ask(transport::AdminVerb::kVerify);
  EXPECT_EQ(verified.at("invariants"), "ok");
  EXPECT_TRUE(verified.at("wrong").empty()) << verified;
  EXPECT_EQ(ask(transport::AdminVerb::kStatus).at("totals").at("corrupt_records"), 0);
}

TEST(NodeStressTest, ManyWorkersSomeOfThemMortal) {
  Scratch scratch;
  Stress(StressConfig(scratch));
}

TEST(NodeStressTest, ManyWorkersOnADeviceOverHostMemoryOverDisk) {
  Scratch scratch;
  NodeConfig config = StressConfig(scratch);
  config.device_bytes = 2 << 20;
  Stress(config);
}

// A working set many times the device's memory and the host's: all of it comes back, also by a node
// that finds it on disk, and by one that has another shape by then.
TEST(NodeTiersTest, EverythingComesBackAlsoAfterARestart) {
  Scratch scratch;
  NodeConfig config = StressConfig(scratch);
  config.device_bytes = 1 << 20;
  config.pool_bytes = 2 << 20;
  config.flush_on_stop = true;
  constexpr uint32_t kStored = 200;
  const auto verify_all = [&](EmbeddedNode& node, bool mapped) {
    Worker worker(*node.Connect({.want_mapping = mapped}));
    for (uint32_t text = 1; text <= kStored; ++text)
      ASSERT_EQ(worker.Verify(Text(text)), absl::OkStatus()) << text;
  };
  {
    auto node = EmbeddedNode::Start(config);
    ASSERT_TRUE(node.ok()) << node.status();
    Worker worker(*(*node)->Connect());
    for (uint32_t text = 1; text <= kStored; ++text)
      ASSERT_EQ(worker.Publish(Text(text)), absl::OkStatus()) << text;
    verify_all(**node, /*mapped=*/true);
    verify_all(**node, /*mapped=*/false);
  }
  for (const uint64_t device_bytes : {1 << 20, 0}) {
    config.device_bytes = device_bytes;
    auto node = EmbeddedNode::Start(config);
    ASSERT_TRUE(node.ok()) << node.status();
    verify_all(**node, /*mapped=*/true);
  }
}

// It serves nobody on such a node, and is not deleted: the next one may have the room.
TEST(NodeTiersTest, WhatIsLargerThanTheDeviceStaysOnDisk) {
  Scratch scratch;
  NodeConfig config = StressConfig(scratch);
  config.flush_on_stop = true;
  const base::ObjectHeader large = TestSegment(1, 25 * 16), small = TestSegment(2);
  const std::vector<uint64_t> devices = {0, 1 << 20, 0};
  for (size_t run = 0; run < devices.size(); ++run) {
    config.device_bytes = devices[run];
    auto node = EmbeddedNode::Start(config);
    ASSERT_TRUE(node.ok()) << node.status();
    Worker worker(*(*node)->Connect());
    if (run == 0) {
      ASSERT_EQ(worker.Publish(large), absl::OkStatus());
      ASSERT_EQ(worker.Publish(small), absl::OkStatus());
    }
    EXPECT_EQ(worker.Verify(small), absl::OkStatus()) << run;
    EXPECT_EQ(worker.Verify(large).code(),
              run == 1 ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << run;
  }
}

}  // namespace
}  // namespace cistern::cacheserver
