#include "tools/bench/python/python_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/python/bench_worker.h"
#include "tools/bench/python/python_run.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PythonReportTest, WhatIsComparedIsEachRoundsOwn) {
  PythonRounds rounds;
  // One round in which the whole machine was slow: it moves neither the difference nor the ratio.
  rounds.Add(40, 50);
  rounds.Add(400, 500);
  rounds.Add(40, 50);
  rounds.Add(20, 31);
  rounds.Add(40, 48);
  PythonLine line{.work = "find"};
  rounds.Fill(&line);
  EXPECT_EQ(line.rounds, 5u);
  EXPECT_DOUBLE_EQ(line.cpp_us, 40);
  EXPECT_DOUBLE_EQ(line.python_us, 50);
  EXPECT_DOUBLE_EQ(line.overhead_us, 10);
  EXPECT_DOUBLE_EQ(line.ratio, 1.25);
}

TEST(PythonReportTest, EveryGoalCounts) {
  PythonLine line{.overhead_us = 14, .ratio = 1.2, .goal = {15, 0}};
  EXPECT_TRUE(line.Meets());
  line.goal.ratio_max = 1.1;
  EXPECT_FALSE(line.Meets());
  line.ratio = 1.05;
  EXPECT_TRUE(line.Meets());
  line.overhead_us = 16;
  EXPECT_FALSE(line.Meets());
}

TEST(PythonReportTest, ACopyIsNoGoalMet) {
  PythonLine line{.ratio = 1, .goal = {0, 1.1}, .in_place = true, .bytes = 100, .extra_bytes = 10};
  EXPECT_TRUE(line.Meets());
  line.extra_bytes = 100;
  EXPECT_FALSE(line.Meets());
  line.extra_bytes = 0;
  line.in_place = false;
  EXPECT_FALSE(line.Meets());
}

TEST(PythonReportTest, JsonAndTableSayTheSame) {
  const PythonLine line{.work = "publish_rows",
                        .what = "16 MiB of rows",
                        .rounds = 5,
                        .calls = 10,
                        .cpp_us = 4000,
                        .python_us = 4100,
                        .overhead_us = 100,
                        .ratio = 1.025,
                        .goal = {0, 1.1},
                        .arrays = "torch.bfloat16",
                        .in_place = true,
                        .bytes = 16 << 20,
                        .extra_bytes = 1 << 20};
  const nlohmann::json json = nlohmann::json::parse(ToJson(line));
  EXPECT_EQ(json["work"], "publish_rows");
  EXPECT_EQ(json["ratio_max"], 1.1);
  EXPECT_FALSE(json.contains("overhead_us_max"));
  EXPECT_EQ(json["extra_bytes"], 1 << 20);
  EXPECT_EQ(json["meets"], true);
  const std::string row = ToTableRow(line);
  EXPECT_THAT(row, HasSubstr("publish_rows"));
  EXPECT_THAT(row, HasSubstr("4100.0"));
  EXPECT_THAT(row, HasSubstr("x1.10           yes  torch.bfloat16, in place, +1.0 MiB resident"));
}

TEST(PythonRunTest, WorksAreKnownAndInOrder) {
  EXPECT_THAT(*ParsePythonWorks("view, find ,find"), ElementsAre("find", "view"));
  EXPECT_THAT(ParsePythonWorks("nap").status().message(),
              HasSubstr("'nap'; there are: find, plan"));
  EXPECT_THAT(ParsePythonWorks(" ").status().message(), HasSubstr("names none"));
}

TEST(PythonRunTest, DrawnTokensAreTheirSeeds) {
  EXPECT_EQ(DrawTokens(7, 100), DrawTokens(7, 100));
  EXPECT_NE(DrawTokens(7, 100), DrawTokens(8, 100));
}

}  // namespace
}  // namespace cistern::tools
