// A line has exactly the fields that are promised.
#include "tools/bench/peers/peers_report.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

PeerLine SamplePeerLine() {
  return {.peer = "redis",
          .op = "GET",
          .bytes = 1'000'000,
          .connections = 8,
          .peer_gbps = 2,
          .ours_gbps = 5,
          .over = "unix"};
}

TEST(PeersReportTest, ALineOfJson) {
  const auto json = nlohmann::json::parse(ToJson(SamplePeerLine()), nullptr, false);
  ASSERT_TRUE(json.is_object());
  std::set<std::string> fields;
  for (const auto& field : json.items()) fields.insert(field.key());
  EXPECT_EQ(fields, (std::set<std::string>{"peer", "op", "bytes", "connections", "peer_gbps",
                                           "ours_gbps", "ratio", "over"}));
  EXPECT_EQ(json["peer"], "redis");
  EXPECT_EQ(json["op"], "GET");
  EXPECT_EQ(json["bytes"], 1'000'000);
  EXPECT_EQ(json["connections"], 8);
  EXPECT_DOUBLE_EQ(json["peer_gbps"].get<double>(), 2);
  EXPECT_DOUBLE_EQ(json["ours_gbps"].get<double>(), 5);
  EXPECT_DOUBLE_EQ(json["ratio"].get<double>(), 2.5);
  EXPECT_EQ(json["over"], "unix");
}

TEST(PeersReportTest, ARowUnderItsHead) {
  EXPECT_EQ(PeersTableHead().size(), ToTableRow(SamplePeerLine()).size());
  EXPECT_THAT(ToTableRow(SamplePeerLine()), testing::HasSubstr("5.000     2.50\n"));
}

TEST(PeersReportTest, WithoutAPeersSpeedThereIsNoRatio) { EXPECT_EQ(PeerLine().ratio(), 0); }

}  // namespace
}  // namespace cistern::tools
