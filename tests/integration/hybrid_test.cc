// A worker process of a hybrid model dies between two entries of its log: what it had flushed is
// resumed by others, on every way that bytes take, and after the node has been started again.
#include <csignal>
#include <memory>

#include "gtest/gtest.h"

#include "tests/integration/hybrid_worker.h"
#include "tests/integration/node_under_test.h"

namespace cistern {
namespace {

using cacheserver::Await;
using cacheserver::Finished;
using cacheserver::NodeUnderTest;
using cacheserver::Process;
using testing::kRecorded;
using testing::StateMemory;
using testing::StateSequence;
using testing::Tokens;

class HybridTest : public ::testing::Test {
 protected:
  // Until the worker has flushed, and then no longer.
  void RecordAndKill(NodeUnderTest& node) {
    Process worker({HYBRID_WORKER, node.unix_address()}, node.Path("worker"));
    Await("the worker to have recorded", [&] { return worker.Out() == "holding\n"; });
    worker.Signal(SIGKILL);
    EXPECT_EQ(worker.Wait().signal, SIGKILL);
    Await("its session to be closed", [&] { return node.Status().at("reservations") == 0; });
  }

  // A prompt that begins like the recorded one, over `address`.
  void ExpectResumed(const std::string& address, bool map) {
    const base::ModelSpec model = testing::RecordedModel();
    Tokens prompt = testing::RecordedTokens();
    const Tokens more = testing::RandomTokens(50, 12);
    prompt.insert(prompt.end(), more.begin(), more.end());
    auto client = Client::Connect({.address = address, .want_mapping = map});
    ASSERT_TRUE(client.ok()) << client.status();
    auto plan = (*client)->MakePlan(model, prompt, {.deadline = absl::Seconds(20)});
    ASSERT_TRUE(plan.ok()) << plan.status();
    EXPECT_EQ(plan->resume().position, kRecorded);
    EXPECT_EQ(plan->resume().checkpoint_position, kRecorded) << "the third entry was folded";
    ASSERT_EQ(plan->wanted_states().size(), 1u);
    EXPECT_EQ(plan->wanted_states()[0], testing::kSequence);

    tools::WorkerCache rows(model, static_cast<uint32_t>(prompt.size()));
    rows.Begin(prompt);
    const StateSequence sequence(model.state, prompt);
    StateMemory state(model.state);
    FetchOptions options;
    options.state = state.view();
    options.constants = sequence.constants();
    auto fetch = (*client)->Fetch(*std::move(plan), rows.Destination(), options);
    ASSERT_TRUE(fetch.ok()) << fetch.status();
    const auto fetched = fetch->Wait();
    ASSERT_TRUE(fetched.ok()) << fetched.status();
    EXPECT_EQ(fetched->state_position, kRecorded);
    EXPECT_EQ(rows.CountMismatches({0, kRecorded}, -1), 0u);
    const StateMemory expected = sequence.At(kRecorded);
    EXPECT_LE(state.DistanceTo(expected), 2e-6);
    EXPECT_EQ(state.conv(), expected.conv());
  }
};

TEST_F(HybridTest, WhatADeadWorkerHadFlushedIsResumed) {
  NodeUnderTest node({"--ucx_address=127.0.0.1:0", "--disk_path=SCRATCHdisk", "--flush_on_stop"});
  node.Start();
  RecordAndKill(node);
  const auto objects = node.CliJson({"ls"}).at("objects");
  int logs = 0, checkpoints = 0;
  for (const auto& object : objects) {
    logs += object.at("kind") == "log";
    checkpoints += object.at("kind") == "checkpoint";
  }
  EXPECT_EQ(logs, 2);
  EXPECT_EQ(checkpoints, 1);
  ExpectResumed(node.unix_address(), /*map=*/true);
  ExpectResumed(node.unix_address(), /*map=*/false);
  ExpectResumed(node.ucx_address(), /*map=*/false);
  EXPECT_EQ(node.CliJson({"flush"}).at("flushed_objects"), objects.size());
  const auto verified = node.CliJson({"verify"});
  EXPECT_EQ(verified.at("compared_with_memory"), objects.size());
  EXPECT_TRUE(verified.at("wrong").empty()) << verified;
  Await("leases to go back", [&] { return node.Status().at("leases") == 0; });

  EXPECT_EQ(node.Stop(SIGTERM).exit_code, 0);
  node.Start();
  EXPECT_EQ(node.CliJson({"ls"}).at("objects").size(), objects.size());
  ExpectResumed(node.unix_address(), /*map=*/true);

  node.Stop(SIGKILL);
  node.Start();
  ExpectResumed(node.ucx_address(), /*map=*/false);
}

}  // namespace
}  // namespace cistern
