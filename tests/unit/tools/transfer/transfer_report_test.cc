// Medians over rounds, percentiles over operations, and a line's fields.
#include "tools/bench/transfer/transfer_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::HasSubstr;

TEST(RoundsTest, TheMedianIsOfRoundsThePercentilesOfOperations) {
  Rounds rounds;
  // 1, 4 and 2 GB/s; each round of two operations of different lengths.
  for (const int64_t micros : {1000, 250, 500}) {
    rounds.Add(500'000, absl::Microseconds(micros / 2 - 10));
    rounds.Add(500'000, absl::Microseconds(micros / 2 + 10));
    rounds.End();
  }
  EXPECT_EQ(rounds.count(), 3u);
  EXPECT_NEAR(rounds.MedianGbps(), 2.0, 1e-9);
  EXPECT_NEAR(rounds.P99Us(), 510, 1e-6);
  EXPECT_GE(rounds.P50Us(), 240);
  EXPECT_LE(rounds.P50Us(), 260);
}

TEST(RoundsTest, ARoundWithoutOperationsIsNone) {
  Rounds rounds;
  rounds.End();
  EXPECT_EQ(rounds.count(), 0u);
  EXPECT_EQ(rounds.MedianGbps(), 0);
}

TransferLine SampleLine() {
  return {.path = "fetch",
          .object = "1MiB",
          .bytes = 1'000'000,
          .rounds = 5,
          .operations = 80,
          .gbps = 12,
          .p50_us = 83,
          .p99_us = 90,
          .limit = "memcpy",
          .limit_gbps = 16,
          .verified_bytes = 96'000'000};
}

TEST(TransferReportTest, ATransferHasALimitAndARatio) {
  const auto json = nlohmann::json::parse(ToJson(SampleLine()), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["path"], "fetch");
  EXPECT_EQ(json["bytes"], 1'000'000);
  EXPECT_EQ(json["limit"], "memcpy");
  EXPECT_DOUBLE_EQ(json["ratio"].get<double>(), 0.75);
  EXPECT_EQ(json["verified_bytes"], 96'000'000);
  EXPECT_FALSE(json.contains("stream_ratio"));
  EXPECT_FALSE(json.contains("plan_p50_us"));
  EXPECT_FALSE(json.contains("first_layer_p50_us"));
  EXPECT_FALSE(json.contains("layer_us"));
  EXPECT_FALSE(json.contains("keys_per_s"));
}

TEST(TransferReportTest, OverTcpThereIsAStreamToo) {
  TransferLine line = SampleLine();
  line.stream_gbps = 24;
  line.plan_p50_us = 70;
  line.first_layer_p50_us = 12;
  line.layer_us = 10;
  const auto json = nlohmann::json::parse(ToJson(line), nullptr, false);
  EXPECT_DOUBLE_EQ(json["stream_ratio"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(json["plan_p50_us"].get<double>(), 70);
  EXPECT_DOUBLE_EQ(json["first_layer_p50_us"].get<double>(), 12);
  EXPECT_DOUBLE_EQ(json["layer_us"].get<double>(), 10);
  EXPECT_THAT(ToTableRow(line), HasSubstr("0.50\n"));
}

TEST(TransferReportTest, SeveralWorkersHaveShares) {
  TransferLine line = SampleLine();
  line.workers = 8;
  line.min_share = 0.75;
  line.max_share = 1.25;
  const auto json = nlohmann::json::parse(ToJson(line), nullptr, false);
  EXPECT_EQ(json["workers"], 8);
  EXPECT_DOUBLE_EQ(json["min_share"].get<double>(), 0.75);
  EXPECT_DOUBLE_EQ(json["max_share"].get<double>(), 1.25);
  EXPECT_THAT(ToTableRow(line), HasSubstr("x8, shares 0.75 to 1.25\n"));
  EXPECT_FALSE(nlohmann::json::parse(ToJson(SampleLine()), nullptr, false).contains("workers"));
}

TEST(TransferReportTest, ALookupHasKeysInstead) {
  TransferLine line{.path = "lookup", .p50_us = 30, .p99_us = 60};
  line.keys = 64;
  line.keys_per_s = 2e6;
  line.over = "unix";
  line.lease = true;
  line.in_flight = 1;
  const auto json = nlohmann::json::parse(ToJson(line), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_DOUBLE_EQ(json["keys_per_s"].get<double>(), 2e6);
  EXPECT_EQ(json["lease"], true);
  EXPECT_FALSE(json.contains("ratio"));
  EXPECT_THAT(ToTableRow(line), HasSubstr("64 keys, unix, leased, x1"));
  EXPECT_THAT(ToTableRow(line), HasSubstr("2.00 M keys/s"));
}

TEST(TransferReportTest, WithoutALimitThereIsNoRatio) { EXPECT_EQ(TransferLine().ratio(), 0); }

}  // namespace
}  // namespace cistern::tools
