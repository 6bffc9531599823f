// A server process, workers and the admin tool, over a unix socket and over TCP on loopback.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;
using transport::Where;

TEST(NodeIntegrationTest, StartsServesAndStopsCleanly) {
  NodeUnderTest node({"--log_format=json"});
  node.Start();
  EXPECT_EQ(node.Status().at("node").at("pid"), node.process().pid());
  const Finished end = node.Stop(SIGTERM);
  EXPECT_EQ(end.exit_code, 0) << end.err;
  EXPECT_FALSE(std::filesystem::exists(node.socket()));
  std::vector<std::string> events;
  std::istringstream lines(end.err);
  for (std::string line; std::getline(lines, line);)
    events.push_back(nlohmann::json::parse(line).at("event"));
  // A first worker may be served before the line about the start is written.
  EXPECT_THAT(events, testing::Contains("node started"));
  EXPECT_EQ(events.back(), "node stopped");
  EXPECT_THAT(events, testing::Contains("session opened"));
}

struct Way {
  const char* name;
  bool network;
  bool map;
};

class WayTest : public testing::TestWithParam<Way> {};

TEST_P(WayTest, WhatIsPublishedIsFoundLeasedAndRead) {
  NodeUnderTest node({"--ucx_address=127.0.0.1:0"});
  node.Start();
  const std::string address = GetParam().network ? node.ucx_address() : node.unix_address();
  Worker writer(address, GetParam().map), reader(address, GetParam().map);
  EXPECT_EQ(reader.link().arena() != nullptr, GetParam().map);
  for (uint32_t i = 1; i <= 20; ++i) {
    const auto header = TestSegment(i, 1 + i * 7);
    EXPECT_EQ(reader.WhereIs(header), Where::kMiss);
    ASSERT_EQ(writer.Publish(header), absl::OkStatus()) << i;
    EXPECT_EQ(reader.Verify(header), absl::OkStatus()) << i;
  }
  const auto status = node.Status();
  EXPECT_EQ(status.at("memory").at("objects"), 20);
  EXPECT_EQ(status.at("leases"), 0);
  EXPECT_EQ(status.at("reservations"), 0);
  EXPECT_EQ(status.at("calls").at("errors"), 0);
  EXPECT_GT(status.at("calls").at("payload_bytes_in"), 0);
}

INSTANTIATE_TEST_SUITE_P(All, WayTest,
                         testing::Values(Way{"UnixMapped", false, true},
                                         Way{"UnixByCopy", false, false},
                                         Way{"TcpLoopback", true, false}),
                         [](const auto& param) { return param.param.name; });

TEST(NodeIntegrationTest, TheCommandLineToolDoesWhatItSays) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk"});
  node.Start();
  Worker worker(node.unix_address());
  const auto a = TestSegment(1, 20), b = TestSegment(2);
  ASSERT_TRUE(worker.Publish(a).ok());
  ASSERT_TRUE(worker.Publish(b).ok());

  const auto models = node.CliJson({"models"}).at("models");
  EXPECT_EQ(models.at(0).at("name"), "test/model");
  EXPECT_THAT(node.Cli({"models"}).out, HasSubstr("test/model"));

  EXPECT_EQ(node.CliJson({"ls"}).at("objects").size(), 2u);
  EXPECT_EQ(node.CliJson({"ls", "--limit", "1"}).at("objects").size(), 1u);
  EXPECT_EQ(node.CliJson({"ls", "--model", "test/model"}).at("objects").size(), 2u);
  EXPECT_EQ(node.CliJson({"ls", "--tenant", "somebody"}).at("objects").size(), 0u);
  EXPECT_THAT(node.Cli({"ls"}).out, HasSubstr(a.content.ToHex()));

  const auto inspected = node.CliJson({"inspect", a.context.ToHex()}).at("objects").at(0);
  EXPECT_EQ(inspected.at("content"), a.content.ToHex());
  EXPECT_EQ(inspected.at("token_ids"), a.tokens);
  EXPECT_THAT(node.Cli({"inspect", a.context.ToHex()}).out, HasSubstr("20: 10000 10001"));

  EXPECT_EQ(node.CliJson({"flush"}).at("flushed_objects"), 2);
  const auto verified = node.CliJson({"verify"});
  EXPECT_EQ(verified.at("compared_with_memory"), 2);
  EXPECT_TRUE(verified.at("wrong").empty());

  const auto first = node.CliJson({"ls", "--limit", "1"});
  const auto rest = node.CliJson({"ls", "--from", absl::StrCat(first.at("next").get<uint64_t>())});
  ASSERT_EQ(rest.at("objects").size(), 1u);
  EXPECT_NE(rest.at("objects")[0].at("id"), first.at("objects")[0].at("id"));

  EXPECT_EQ(node.CliJson({"pin", a.content.ToHex()}).at("pinned"), 1);
  EXPECT_THAT(node.Cli({"evict", "--all"}).out,
              HasSubstr("evicted 1 object\nkept 1: 1 pinned, 0 leased\n"));
  EXPECT_EQ(node.CliJson({"evict", "--key", a.content.ToHex()}).at("kept"), 1);
  EXPECT_EQ(worker.WhereIs(a), Where::kMemory);
  EXPECT_EQ(worker.WhereIs(b), Where::kMiss);
  EXPECT_EQ(node.CliJson({"unpin", a.content.ToHex()}).at("unpinned"), 1);
  EXPECT_EQ(node.CliJson({"evict", "--model", "test/model"}).at("evicted"), 1);
  EXPECT_EQ(node.CliJson({"ls"}).at("objects").size(), 0u);
  Await("the evicted records to leave the disk",
        [&] { return node.Status().at("disk").at("records") == 0; });
  EXPECT_THAT(node.Cli({"status"}).out, HasSubstr("sessions       2 open"));
}

TEST(NodeIntegrationTest, TheCommandLineToolExplainsItsErrors) {
  NodeUnderTest node({});
  node.Start();
  const auto expect = [&](std::vector<std::string> words, int code, const std::string& says) {
    const Finished cli = node.Cli(std::move(words));
    EXPECT_EQ(cli.exit_code, code) << cli.err;
    EXPECT_THAT(cli.err, HasSubstr(says));
    EXPECT_EQ(cli.out, "");
  };
  expect({"inspect", "xyz"}, 2, "is no key");
  expect({"inspect"}, 2, "is no key");
  expect({"inspect", std::string(32, 'a')}, 1, "no object with the key");
  expect({"evict"}, 2, "say what to evict");
  expect({"evict", "--key", std::string(32, 'a')}, 1, "no object with the key");
  expect({"evict", "--model", "nobody"}, 1, "no model 'nobody'");
  expect({"frobnicate"}, 2, "no command 'frobnicate'");
  expect({"status", "extra"}, 2, "one word too many");
  expect({"flush"}, 1, "--disk_path");
  expect({}, 2, "Commands");
  node.Stop(SIGTERM);
  expect({"status"}, 3, "no node answers at unix:");
  const Finished help = node.Cli({"evict", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--tenant SALT"));
}

TEST(NodeIntegrationTest, AfterSigtermWithFlushARestartFindsEverything) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk", "--flush_on_stop"});
  node.Start();
  {
    Worker worker(node.unix_address());
    for (uint32_t i = 1; i <= 30; ++i) ASSERT_TRUE(worker.Publish(TestSegment(i, 40)).ok());
  }
  EXPECT_EQ(node.Stop(SIGTERM).exit_code, 0);
  node.Start();
  Worker worker(node.unix_address());
  for (uint32_t i = 1; i <= 30; ++i) {
    EXPECT_EQ(worker.WhereIs(TestSegment(i, 40)), Where::kDisk);
    EXPECT_EQ(worker.Verify(TestSegment(i, 40)), absl::OkStatus()) << i;
  }
  EXPECT_EQ(node.Status().at("totals").at("staged_objects"), 30);
}

TEST(NodeIntegrationTest, AStopThatLosesSomethingSaysSo) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk"});
  node.Start();
  ASSERT_TRUE(Worker(node.unix_address()).Publish(TestSegment(1, 40)).ok());
  const Finished lost = node.Stop(SIGTERM);
  EXPECT_EQ(lost.exit_code, 0);
  EXPECT_THAT(lost.out + lost.err, HasSubstr("goes with the node; flush_on_stop would have kept"));
  node.Start();
  ASSERT_TRUE(Worker(node.unix_address()).Publish(TestSegment(1, 40)).ok());
  ASSERT_EQ(node.Cli({"flush"}).exit_code, 0);
  const Finished kept = node.Stop(SIGTERM);
  EXPECT_THAT(kept.out + kept.err, testing::Not(HasSubstr("goes with the node")));
}

TEST(NodeIntegrationTest, AfterSigkillWhatWasOnDiskIsServed) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk"});
  node.Start();
  {
    Worker worker(node.unix_address());
    for (uint32_t i = 1; i <= 10; ++i) ASSERT_TRUE(worker.Publish(TestSegment(i, 40)).ok());
    ASSERT_EQ(node.CliJson({"flush"}).at("dirty_bytes_left"), 0);
    ASSERT_TRUE(worker.Publish(TestSegment(99)).ok());
  }
  EXPECT_EQ(node.Stop(SIGKILL).signal, SIGKILL);
  node.Start();
  Worker worker(node.unix_address());
  for (uint32_t i = 1; i <= 10; ++i)
    EXPECT_EQ(worker.Verify(TestSegment(i, 40)), absl::OkStatus()) << i;
  EXPECT_EQ(worker.WhereIs(TestSegment(99)), Where::kMiss);
}

TEST(NodeIntegrationTest, AnEagerNodeLosesNothingThatHadTimeToReachTheDisk) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk", "--demote_eagerly"});
  node.Start();
  {
    Worker worker(node.unix_address());
    for (uint32_t i = 1; i <= 10; ++i) ASSERT_TRUE(worker.Publish(TestSegment(i)).ok());
  }
  Await("everything on disk", [&] { return node.Status().at("memory").at("dirty_bytes") == 0; });
  node.Stop(SIGKILL);
  node.Start();
  Worker worker(node.unix_address());
  for (uint32_t i = 1; i <= 10; ++i)
    EXPECT_EQ(worker.Verify(TestSegment(i)), absl::OkStatus()) << i;
}

TEST(NodeIntegrationTest, MoreThanMemoryHoldsGoesThroughTheDisk) {
  NodeUnderTest node({"--disk_path=SCRATCHdisk", "--pool_bytes=4MiB"});
  node.Start();
  Worker worker(node.unix_address());
  for (uint32_t i = 1; i <= 60; ++i)  // 15 MiB
    ASSERT_EQ(worker.Publish(TestSegment(i, 64)), absl::OkStatus()) << i;
  for (uint32_t i = 1; i <= 60; ++i)
    EXPECT_EQ(worker.Verify(TestSegment(i, 64)), absl::OkStatus()) << i;
  const auto status = node.Status();
  EXPECT_GT(status.at("totals").at("staged_objects"), 40);
  EXPECT_EQ(status.at("totals").at("dropped_objects"), 0);
}

TEST(NodeIntegrationTest, TheFileIsReadAndFlagsWin) {
  Scratch scratch;
  std::ofstream(scratch.Path("node.json")) << R"({"name": "from-file", "lanes": 3})";
  const Finished end = Process({CISTERN_SERVER, "--config=" + scratch.Path("node.json"),
                                "--lanes=5", "--check_config"},
                               scratch.Path("server"))
                           .Wait();
  EXPECT_EQ(end.exit_code, 0) << end.err;
  const auto json = nlohmann::json::parse(end.out);
  EXPECT_EQ(json.at("name"), "from-file");
  EXPECT_EQ(json.at("lanes"), "5");
}

TEST(NodeIntegrationTest, ATenantsQuotaIsItsOwnTrouble) {
  NodeUnderTest node({"--tenants=team-a:quota=1MiB,priority=2,others:priority=0",
                      "--eviction_policy=lru", "--object_ttl=1h"});
  node.Start();
  Worker worker(node.unix_address());
  for (uint32_t i = 1; i <= 32; ++i) {  // 64 KiB each
    ASSERT_TRUE(worker.Publish(TestSegment(i, 16, "team-a")).ok()) << i;
    if (i % 2 == 1) continue;
    ASSERT_TRUE(worker.Publish(TestSegment(i, 16, "team-b")).ok()) << i;
  }
  const auto status = node.Status();
  EXPECT_EQ(status.at("eviction").at("policy"), "lru");
  EXPECT_EQ(status.at("eviction").at("object_ttl_ms"), 3600000);
  const auto team_a = status.at("tenants").at(0), others = status.at("tenants").at(1);
  EXPECT_EQ(team_a.at("quota_bytes"), 1 << 20);
  EXPECT_EQ(team_a.at("used_bytes"), 1 << 20);
  EXPECT_EQ(team_a.at("objects"), 16);
  EXPECT_EQ(team_a.at("evicted_objects"), 16);
  EXPECT_EQ(others.at("objects"), 16);
  EXPECT_EQ(others.at("evicted_objects"), 0);
  const std::string name = team_a.at("tenant");
  EXPECT_THAT(node.Cli({"status"}).out, HasSubstr(name));
  EXPECT_EQ(node.CliJson({"ls", "--tenant", name}).at("objects").size(), 16u);
  EXPECT_EQ(node.CliJson({"ls", "--tenant", "team-b"}).at("objects").size(), 16u);
  for (uint32_t i = 17; i <= 32; ++i)
    EXPECT_EQ(worker.Verify(TestSegment(i, 16, "team-a")), absl::OkStatus()) << i;
  EXPECT_EQ(node.Cli({"ls", "--tenant", "0x12"}).exit_code, 2);
}

TEST(NodeIntegrationTest, HelpTeachesAndVersionIsTold) {
  Scratch scratch;
  const Finished help = Process({CISTERN_SERVER, "--help"}, scratch.Path("help")).Wait();
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, testing::AllOf(HasSubstr("--disk_path=/var/lib/cistern"),
                                       HasSubstr("--pool_bytes=1GiB"), HasSubstr("Exit code")));
  const Finished version = Process({CISTERN_SERVER, "--version"}, scratch.Path("version")).Wait();
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, testing::StartsWith("cistern-server "));
}

}  // namespace
}  // namespace cistern::cacheserver
