// Every setting can be given, every wrong one gets one line that says what would do.
#include "cacheserver/config.h"

#include <filesystem>
#include <fstream>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "cacheserver/flags.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

absl::Status Apply(NodeConfig& config, const std::string& text) {
  return ApplyConfigText(config, text, "test.json");
}

TEST(ConfigTest, AFileWithCommentsSetsWhatItNames) {
  NodeConfig config;
  ASSERT_TRUE(Apply(config, R"({
    // where workers of this host connect
    "unix_socket": "/tmp/a.sock",
    "pool_bytes": "512MiB", /* a size */
    "disk_max_bytes": 1048576,
    "huge_pages": false,
    "demote_above": 0.7,
    "demote_below": "0.5",
    "lease_max_age": "90s",
    "models": ["deepseek-v2-lite", "/models/x/config.json"],
    "log_format": "json"
  })")
                  .ok());
  EXPECT_EQ(config.unix_socket, "/tmp/a.sock");
  EXPECT_EQ(config.pool_bytes, 512u << 20);
  EXPECT_EQ(config.disk_max_bytes, 1u << 20);
  EXPECT_FALSE(config.huge_pages);
  EXPECT_EQ(config.demote_above, 0.7);
  EXPECT_EQ(config.demote_below, 0.5);
  EXPECT_EQ(config.lease_max_age, absl::Seconds(90));
  EXPECT_THAT(config.models, ElementsAre("deepseek-v2-lite", "/models/x/config.json"));
  EXPECT_EQ(config.log_format, LogFormat::kJson);
  EXPECT_EQ(config.lanes, NodeConfig().lanes);
}

TEST(ConfigTest, WhatIsWrittenIsReadAgain) {
  NodeConfig config;
  config.name = "a \"name\"";
  config.pool_bytes = 3ull << 30;
  config.lease_max_age = absl::Milliseconds(1500);
  config.models = {"a", "b"};
  config.allow_mapping = false;
  config.eviction_policy = "marconi";
  config.object_ttl = absl::Hours(36);
  ASSERT_TRUE(
      SetConfigField(config, "tenants", "a:quota=1GiB,priority=7,:priority=0,others:quota=100")
          .ok());
  NodeConfig again;
  ASSERT_TRUE(Apply(again, ConfigToText(config)).ok());
  for (const ConfigField& field : ConfigFields())
    EXPECT_EQ(field.get(again), field.get(config)) << field.name;
}

TEST(ConfigTest, AnUnknownKeyIsAnErrorThatNamesTheNearest) {
  NodeConfig config;
  EXPECT_THAT(Apply(config, R"({"pool_byte": "1GiB"})").message(),
              AllOf(HasSubstr("test.json"), HasSubstr("'pool_byte'"), HasSubstr("'pool_bytes'")));
  EXPECT_THAT(Apply(config, R"({"unixsocket": "x"})").message(), HasSubstr("'unix_socket'"));
}

struct WrongValue {
  const char* text;
  const char* says;
};
void PrintTo(const WrongValue& value, std::ostream* out) { *out << value.text; }

class WrongValueTest : public testing::TestWithParam<WrongValue> {};

TEST_P(WrongValueTest, GetsOneLineThatSaysWhatWouldDo) {
  NodeConfig config;
  const absl::Status status = Apply(config, GetParam().text);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("test.json"), HasSubstr(GetParam().says)));
  EXPECT_THAT(status.message(), testing::Not(HasSubstr("\n")));
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongValueTest,
    testing::Values(
        WrongValue{R"({"pool_bytes": "lots"})", "give a size, such as 512MiB"},
        WrongValue{R"({"pool_bytes": -1})", "give a size"},
        WrongValue{R"({"lanes": "two"})", "give a whole number"},
        WrongValue{R"({"lanes": 1.5})", "give a whole number"},
        WrongValue{R"({"huge_pages": "maybe"})", "give true or false"},
        WrongValue{R"({"demote_above": 1.5})", "give a share of the pool"},
        WrongValue{R"({"demote_above": 0})", "give a share of the pool"},
        WrongValue{R"({"lease_max_age": "10"})", "give a duration with its unit"},
        WrongValue{R"({"lease_max_age": "-5s"})", "give a duration"},
        WrongValue{R"({"log_level": "loud"})", "give debug, info, warning, error or off"},
        WrongValue{R"({"log_format": "xml"})", "give text or json"},
        WrongValue{R"({"models": [1]})", "a list holds strings"},
        WrongValue{R"({"eviction_policy": "random"})", "give one of value, lru, s3fifo, marconi"},
        WrongValue{R"({"object_ttl": "inf"})", "give a duration"},
        WrongValue{R"({"name": null})", "give a string"},
        WrongValue{R"({"name": {"a": 1}})", "give a string"}, WrongValue{"{", "not valid JSON"},
        WrongValue{"", "is empty"}, WrongValue{"[1]", "one JSON object"}));

TEST(ConfigTest, EveryWrongValueIsNamedAtOnce) {
  NodeConfig config;
  const absl::Status status = Apply(config, R"({"lanes": "x", "pool_bytes": "y"})");
  EXPECT_THAT(status.message(), AllOf(HasSubstr("lanes"), HasSubstr("pool_bytes")));
}

struct Misfit {
  const char* field;
  const char* value;
  const char* says;

  friend void PrintTo(const Misfit& misfit, std::ostream* out) {
    *out << misfit.field << " = '" << misfit.value << "'";
  }
};

class MisfitTest : public testing::TestWithParam<Misfit> {};

TEST_P(MisfitTest, IsFoundByValidate) {
  NodeConfig config;
  ASSERT_TRUE(ValidateConfig(config).ok());
  ASSERT_TRUE(SetConfigField(config, GetParam().field, GetParam().value).ok());
  const absl::Status status = ValidateConfig(config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(GetParam().field), HasSubstr(GetParam().says)));
}

INSTANTIATE_TEST_SUITE_P(
    All, MisfitTest,
    testing::Values(Misfit{"name", "", "give a name"}, Misfit{"lanes", "0", "give 1 to 256"},
                    Misfit{"lanes", "1000", "give 1 to 256"},
                    Misfit{"disk_threads", "0", "give 1 to 256"},
                    Misfit{"copy_threads", "0", "give 1 to 256"},
                    Misfit{"pool_bytes", "4KiB", "give 1MiB at least"},
                    Misfit{"variants_per_content", "0", "give 1 at least"},
                    Misfit{"demote_below", "0.95", "must be below demote_above"},
                    Misfit{"demote_batch_bytes", "0", "give a size above 0"},
                    Misfit{"flush_on_stop", "true", "set disk_path too"},
                    Misfit{"demote_eagerly", "true", "set disk_path too"},
                    Misfit{"max_sessions", "0", "give 1 at least"},
                    Misfit{"max_calls_per_session", "0", "give 1 at least"},
                    Misfit{"max_leases_per_session", "0", "give 1 at least"},
                    Misfit{"max_reservations_per_session", "0", "give 1 at least"},
                    Misfit{"lease_max_age", "10ms", "give 1s at least"},
                    Misfit{"object_ttl", "10ms", "give 1s at least, or 0 for never"},
                    Misfit{"tenants", "a:quota=2GiB", "the quota is larger than pool_bytes (1GiB)"},
                    Misfit{"tenants", "a:quota=1MiB,others:quota=1025MiB",
                           "tenants = 'others:quota=1025MiB,priority=1'"},
                    Misfit{"ucx_address", "somewhere", "give host:port"}));

TEST(ConfigTest, AQuotaIsOfTheMemoryThatObjectsAreServedFrom) {
  NodeConfig config;
  config.device_bytes = 4ull << 30;
  ASSERT_TRUE(SetConfigField(config, "tenants", "a:quota=2GiB").ok());
  EXPECT_TRUE(ValidateConfig(config).ok()) << ValidateConfig(config);
  config.device_bytes = 1ull << 30;
  config.pool_bytes = 8ull << 30;
  EXPECT_THAT(ValidateConfig(config).message(),
              HasSubstr("the quota is larger than device_bytes (1GiB)"));
}

TEST(ConfigTest, ASocketPathThatNoSocketCanHaveIsRefused) {
  NodeConfig config;
  config.unix_socket = std::string(200, 'x');
  EXPECT_THAT(ValidateConfig(config).message(), HasSubstr("107 bytes"));
}

TEST(ConfigTest, AFileThatCannotBeReadIsNamed) {
  NodeConfig config;
  const absl::Status missing = ApplyConfigFile(config, "/nonexistent/cistern.json");
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("/nonexistent/cistern.json"));
  const absl::Status directory = ApplyConfigFile(config, "/tmp");
  EXPECT_FALSE(directory.ok());
  EXPECT_THAT(directory.message(), HasSubstr("/tmp"));
}

TEST(ConfigTest, AFileThatIsNoConfigurationIsRefusedBySize) {
  const auto path = std::filesystem::temp_directory_path() / absl::StrCat("big-", getpid());
  std::ofstream(path) << std::string(2 << 20, ' ');
  NodeConfig config;
  EXPECT_THAT(ApplyConfigFile(config, path).message(), HasSubstr("larger than"));
  std::filesystem::remove(path);
}

TEST(ConfigTest, TheExampleFileIsEverySettingWithItsDefault) {
  std::ifstream in(CISTERN_EXAMPLE_CONFIG);
  const nlohmann::json file = nlohmann::json::parse(in, nullptr, false, /*ignore_comments=*/true);
  ASSERT_TRUE(file.is_object());
  EXPECT_EQ(file.size(), ConfigFields().size());
  NodeConfig config;
  ASSERT_TRUE(ApplyConfigFile(config, CISTERN_EXAMPLE_CONFIG).ok())
      << ApplyConfigFile(config, CISTERN_EXAMPLE_CONFIG);
  EXPECT_TRUE(ValidateConfig(config).ok()) << ValidateConfig(config);
  for (const ConfigField& field : ConfigFields()) {
    EXPECT_TRUE(file.contains(field.name)) << field.name;
    EXPECT_EQ(field.get(config), field.get(NodeConfig())) << field.name;
  }
}

TEST(ConfigTest, AnEmptyFileIsCalledEmpty) {
  NodeConfig config;
  for (const char* text : {"", " \n\t"}) {
    const absl::Status status = ApplyConfigText(config, text, "node.json");
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("node.json: is empty"));
  }
}

TEST(ConfigTest, APortHasARange) {
  for (const char* address : {"0.0.0.0:65536", "0.0.0.0:-1", "[::1]:", "host:http", "0.0.0.0"}) {
    NodeConfig config;
    config.ucx_address = address;
    const absl::Status status = ValidateConfig(config);
    EXPECT_THAT(std::string(status.message()), HasSubstr("ucx_address")) << address;
    EXPECT_THAT(std::string(status.message()), HasSubstr("0 to 65535")) << address;
  }
  for (const char* address : {"", "0.0.0.0:65535", "127.0.0.1:0", "[::1]:7411"}) {
    NodeConfig config;
    config.ucx_address = address;
    EXPECT_TRUE(ValidateConfig(config).ok()) << address;
  }
}

TEST(FlagsTest, OnlyFlagsThatWereGivenCount) {
  const char* argv[] = {"cistern-server", "--lanes=4",      "-pool_bytes", "1GiB",
                        "--nohuge_pages", "--check_config", "--",          "--models=x"};
  EXPECT_THAT(GivenFlags(8, argv), ElementsAre("lanes", "pool_bytes", "huge_pages"));
}

}  // namespace
}  // namespace cistern::cacheserver
