// Who has nothing to do uses no processor: a node between turns, and the workers connected to it.
#include <csignal>
#include <iostream>
#include <memory>
#include <vector>

#include <sys/resource.h>
#include <time.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fault/stuck/stuck_node.h"

namespace cistern::stuck {
namespace {

absl::Duration CpuTimeOf(clockid_t clock) {
  timespec used{};
  EXPECT_EQ(clock_gettime(clock, &used), 0);
  return absl::DurationFromTimespec(used);
}

class Idle : public testing::TestWithParam<Carrier> {};
INSTANTIATE_TEST_SUITE_P(Over, Idle,
                         testing::Values(Carrier::kMapped, Carrier::kCopied, Carrier::kTcp),
                         CarrierName);

TEST_P(Idle, UsesNoProcessor) {
  StuckNode node({"--disk_path=SCRATCHdisk"});
  std::vector<std::unique_ptr<Client>> clients;
  TurnWorker worker(1);
  for (int i = 0; i < 4; ++i) {
    auto client = Client::Connect(node.options(GetParam()));
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ(worker.Run(**client).trouble, absl::OkStatus());
    clients.push_back(*std::move(client));
  }
  absl::SleepFor(absl::Seconds(1));  // what was published is on its way to disk
  clockid_t of_node{};
  ASSERT_EQ(clock_getcpuclockid(node.node().process().pid(), &of_node), 0);
  const absl::Duration ours = CpuTimeOf(CLOCK_PROCESS_CPUTIME_ID), nodes = CpuTimeOf(of_node);
  absl::SleepFor(absl::Seconds(3));
  const absl::Duration our_use = CpuTimeOf(CLOCK_PROCESS_CPUTIME_ID) - ours;
  const absl::Duration node_use = CpuTimeOf(of_node) - nodes;
  std::cout << "in 3 s: four workers " << our_use << ", the node " << node_use << "\n";
  EXPECT_LT(our_use, absl::Milliseconds(15)) << "half a per cent of a core";
  EXPECT_LT(node_use, absl::Milliseconds(15));
}

}  // namespace
}  // namespace cistern::stuck
