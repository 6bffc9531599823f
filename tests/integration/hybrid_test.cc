// A worker process of a hybrid model dies between two entries of its log: what it had flushed is
// resumed by others, on every way that bytes take, and after the node has been started again. What
// is torn on the node's disk is not.
#include <algorithm>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

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

  struct Resumed {
    uint32_t planned = 0,
             checkpoint = 0;  // tokens: where the plan resumes, and where its checkpoint is
    uint32_t position = 0;    // where the state that came belongs
    std::vector<uint32_t> wanted;
    StateMemory state;
  };

  // A prompt that begins like the recorded one, over `address`. What comes is right.
  Resumed Resume(const std::string& address, bool map) {
    Resumed resumed{.state = StateMemory(model_.state)};
    Tokens prompt = testing::RecordedTokens();
    const Tokens more = testing::RandomTokens(50, 12);
    prompt.insert(prompt.end(), more.begin(), more.end());
    auto client = Client::Connect({.address = address, .want_mapping = map});
    EXPECT_TRUE(client.ok()) << client.status();
    if (!client.ok()) return resumed;
    auto plan = (*client)->MakePlan(model_, prompt, {.deadline = absl::Seconds(20)});
    EXPECT_TRUE(plan.ok()) << plan.status();
    if (!plan.ok()) return resumed;
    resumed.planned = plan->resume().position;
    resumed.checkpoint = plan->resume().checkpoint_position;
    resumed.wanted.assign(plan->wanted_states().begin(), plan->wanted_states().end());

    tools::WorkerCache rows(model_, static_cast<uint32_t>(prompt.size()));
    rows.Begin(prompt);
    const StateSequence sequence(model_.state, prompt);
    FetchOptions options;
    options.state = resumed.state.view();
    options.constants = sequence.constants();
    auto fetch = (*client)->Fetch(*std::move(plan), rows.Destination(), options);
    EXPECT_TRUE(fetch.ok()) << fetch.status();
    if (!fetch.ok()) return resumed;
    const auto fetched = fetch->Wait();
    EXPECT_TRUE(fetched.ok()) << fetched.status();
    if (!fetched.ok()) return resumed;
    resumed.position = fetched->state_position;
    if (resumed.position == 0) return resumed;
    EXPECT_EQ(rows.CountMismatches({0, resumed.position}, -1), 0u);
    const StateMemory expected = sequence.At(resumed.position);
    EXPECT_LE(resumed.state.DistanceTo(expected), 2e-6);
    EXPECT_EQ(resumed.state.conv(), expected.conv());
    return resumed;
  }

  StateMemory ExpectResumed(const std::string& address, bool map) {
    Resumed resumed = Resume(address, map);
    EXPECT_EQ(resumed.planned, kRecorded);
    EXPECT_EQ(resumed.checkpoint, kRecorded) << "the third entry was folded";
    EXPECT_EQ(resumed.position, kRecorded);
    EXPECT_EQ(resumed.wanted, std::vector{testing::kSequence});
    return std::move(resumed.state);
  }

  // One bit of the file below `directory` that has `bytes` in it, in their middle.
  static void DamageOnDisk(const std::string& directory, std::span<const std::byte> bytes) {
    int found = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
      if (!entry.is_regular_file()) continue;
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const std::string_view needle(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      const size_t at = text.find(needle);
      if (at == std::string::npos) continue;
      ++found;
      const size_t middle = at + bytes.size() / 2;
      file.clear();
      file.seekp(static_cast<std::streamoff>(middle));
      file.put(static_cast<char>(text[middle] ^ 0x10));
      ASSERT_TRUE(file.good()) << entry.path();
    }
    ASSERT_EQ(found, 1) << "files that have these bytes";
  }

  const base::ModelSpec model_ = testing::RecordedModel();
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

// First the checkpoint, then the log in front of it: each start resumes what is whole.
TEST_F(HybridTest, WhatIsTornOnDiskIsNotResumed) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk", "--flush_on_stop"});
  node.Start();
  RecordAndKill(node);
  StateMemory state = ExpectResumed(node.unix_address(), /*map=*/true);
  EXPECT_EQ(node.Stop(SIGTERM).exit_code, 0);

  DamageOnDisk(node.Path("disk"), {state.view().temporal[1], 256});
  node.Start();
  EXPECT_EQ(Resume(node.unix_address(), true).position, 0u) << "all or nothing";
  const Resumed logs = Resume(node.unix_address(), true);
  EXPECT_EQ(logs.planned, 40u);
  EXPECT_EQ(logs.position, 40u);
  EXPECT_EQ(logs.checkpoint, 0u) << "two logs, from the first token on";
  node.Stop(SIGKILL);

  const Tokens tokens = testing::RecordedTokens();
  const StateSequence sequence(model_.state, tokens);
  const LogSource second = sequence.Log(20, 40);
  DamageOnDisk(node.Path("disk"), {second.fields[0].layers[0], 48});
  node.Start();
  const auto verified = node.Cli({"verify"});
  EXPECT_EQ(verified.exit_code, 4) << verified.out << verified.err;
  const Resumed log = Resume(node.unix_address(), false);
  EXPECT_EQ(log.planned, 20u);
  EXPECT_EQ(log.position, 20u);
  EXPECT_EQ(node.Status().at("leases"), 0);
}

}  // namespace
}  // namespace cistern
