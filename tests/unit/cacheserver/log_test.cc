// Events come out as one line each, for people or for machines.
#include "cacheserver/log.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

TEST(LogTest, TextNamesValuesAndQuotesWords) {
  std::ostringstream out;
  Log log("info", LogFormat::kText, &out);
  log.Info("session opened", {{"session", 7}, {"peer", "unix \"pid\" 1"}, {"mapped", true}});
  EXPECT_THAT(
      out.str(),
      testing::HasSubstr(R"( info session opened session=7 peer="unix \"pid\" 1" mapped=true)"));
}

TEST(LogTest, EveryJsonLineIsOneObject) {
  std::ostringstream out;
  Log log("debug", LogFormat::kJson, &out);
  log.Debug("a", {{"n", 3}, {"share", 0.5}, {"text", "line\nbreak \xff"}});
  log.Warning("b", {{"error", absl::NotFoundError("gone")}});
  std::istringstream lines(out.str());
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  const auto first = nlohmann::json::parse(line);
  EXPECT_EQ(first.at("level"), "debug");
  EXPECT_EQ(first.at("event"), "a");
  EXPECT_EQ(first.at("n"), 3);
  EXPECT_EQ(first.at("share"), 0.5);
  EXPECT_THAT(first.at("time").get<std::string>(), testing::EndsWith("Z"));
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(nlohmann::json::parse(line).at("error"), "NOT_FOUND: gone");
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(LogTest, LevelsBelowTheSetOneAreSilent) {
  std::ostringstream out;
  Log quiet("off", LogFormat::kText, &out);
  quiet.Error("x");
  Log warning("warning", LogFormat::kText, &out);
  warning.Info("x");
  EXPECT_EQ(out.str(), "");
  warning.Error("y");
  EXPECT_THAT(out.str(), testing::HasSubstr("error y"));
}

}  // namespace
}  // namespace cistern::cacheserver
