// What tenants may take, as a setting: every form that is taken, and a line for every one that is
// not.
#include "cacheserver/tenant_config.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/key.h"
#include "base/tenant.h"
#include "cacheserver/config.h"
#include "cacheserver/store_options.h"

namespace cistern::cacheserver {
namespace {

using testing::HasSubstr;

TenantSettings Parsed(absl::string_view text) {
  TenantSettings settings;
  const absl::Status status = ParseTenants(text, settings);
  EXPECT_TRUE(status.ok()) << status;
  return settings;
}

void ExpectRule(const storage::TenantRule& rule, uint64_t tenant, uint64_t quota,
                uint32_t priority) {
  EXPECT_EQ(rule.tenant, tenant);
  EXPECT_EQ(rule.quota_bytes, quota);
  EXPECT_EQ(rule.priority, priority);
}

TEST(TenantConfigTest, SaltsNumbersAndAllOthers) {
  const TenantSettings settings = Parsed(
      "team-a:quota=4GiB,priority=2, org:b:priority=0 ,0x00000000000000ff:quota=100,"
      ":quota=1MiB,others:priority=0,quota=1GiB");
  ASSERT_EQ(settings.named.size(), 4u);
  ExpectRule(settings.named[0], base::TenantOf("team-a"), 4ull << 30, 2);
  ExpectRule(settings.named[1], base::TenantOf("org:b"), 0, 0);
  ExpectRule(settings.named[2], 255, 100, 1);
  ExpectRule(settings.named[3], 0, 1 << 20, 1);
  EXPECT_EQ(settings.others.quota_bytes, 1ull << 30);
  EXPECT_EQ(settings.others.priority, 0u);
}

TEST(TenantConfigTest, WhatIsShownHasNoSaltsAndIsReadAgain) {
  const std::string shown = TenantsText(Parsed("team-a:quota=4GiB,b:priority=7,others:quota=1"));
  EXPECT_EQ(shown, absl::StrCat(base::TenantText(base::TenantOf("team-a")),
                                ":quota=4GiB,priority=1,", base::TenantText(base::TenantOf("b")),
                                ":priority=7,others:quota=1,priority=1"));
  EXPECT_EQ(TenantsText(Parsed(shown)), shown);
  EXPECT_EQ(TenantsText(Parsed("")), "");
  EXPECT_EQ(TenantsText(Parsed("others:quota=0")), "") << "as if it were not there";
}

TEST(TenantConfigTest, AFileGivesAListOfStrings) {
  NodeConfig config;
  ASSERT_TRUE(ApplyConfigText(config, R"({"tenants": ["a:quota=1GiB,priority=3", "b:priority=0"]})",
                              "test.json")
                  .ok());
  ASSERT_EQ(config.tenants.named.size(), 2u);
  ExpectRule(config.tenants.named[0], base::TenantOf("a"), 1ull << 30, 3);
  ASSERT_TRUE(ApplyConfigText(config, R"({"tenants": []})", "test.json").ok());
  EXPECT_TRUE(config.tenants.named.empty()) << "a list is given whole";
}

struct WrongTenants {
  const char* text;
  const char* says;
};
void PrintTo(const WrongTenants& value, std::ostream* out) { *out << value.text; }

class WrongTenantsTest : public testing::TestWithParam<WrongTenants> {};

TEST_P(WrongTenantsTest, GetOneLineAndChangeNothing) {
  TenantSettings settings = Parsed("known:priority=2");
  const absl::Status status = ParseTenants(GetParam().text, settings);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().says));
  EXPECT_THAT(std::string(status.message()), testing::Not(HasSubstr("\n")));
  EXPECT_EQ(settings.named.size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongTenantsTest,
    testing::Values(
        WrongTenants{"team-a", "tenant 'team-a': give SALT:quota=SIZE,priority=0..7"},
        WrongTenants{"quota=1GiB", "give SALT:quota="},
        WrongTenants{"a:priority=2;others:quota=1", "commas lie between tenants"},
        WrongTenants{"a:quota=1,priority=2;b:quota=1", "commas lie between tenants"},
        WrongTenants{"a:quota=1 b:quota=1", "commas lie between tenants"},
        WrongTenants{"a:", "tenant 'a': give quota=SIZE, priority=0..7 or both"},
        WrongTenants{"a:priority=1,b:", "tenant 'b': give quota=SIZE"},
        WrongTenants{"a:quota=lots", "tenant 'a': quota = 'lots': give a size"},
        WrongTenants{"a:quota", "give a size"}, WrongTenants{"a:quota=-1", "give a size"},
        WrongTenants{"a:priority=8", "tenant 'a': priority = '8': give a whole number from 0 to 7"},
        WrongTenants{"a:priority=-1", "from 0 to 7"}, WrongTenants{"a:priority=", "from 0 to 7"},
        WrongTenants{"a:priority=high", "from 0 to 7"},
        WrongTenants{"a:colour=3", "tenant 'a': has quota and priority, there is no 'colour'"},
        WrongTenants{"a:quota=1,priority=2,quota=3", "tenant 'a': has two values of quota"},
        WrongTenants{"a:quota=1,b:quota=1,a:priority=2", "tenant 'a': is there twice"},
        WrongTenants{":quota=1,0x0000000000000000:priority=1", "is there twice"},
        WrongTenants{"others:quota=1,others:priority=1", "tenant 'others': is there twice"},
        WrongTenants{"0x12:quota=1", "16 hex digits"}));

TEST(TenantConfigTest, TheirNumberIsBounded) {
  std::string text;
  for (size_t i = 0; i < kMaxTenants; ++i) absl::StrAppend(&text, i, ":priority=1,");
  EXPECT_EQ(Parsed(absl::StrCat(text, "others:priority=0")).named.size(), kMaxTenants);
  TenantSettings settings;
  EXPECT_THAT(std::string(ParseTenants(absl::StrCat(text, "more:priority=1"), settings).message()),
              HasSubstr("name 256 tenants at most"));
}

TEST(StoreOptionsTest, SettingsReachTheStore) {
  NodeConfig config;
  EXPECT_EQ(StoreOptionsOf(config).object_ttl, absl::InfiniteDuration());
  EXPECT_EQ(StoreOptionsOf(config).eviction_policy, "value");
  EXPECT_FALSE(StoreOptionsOf(config).has_disk);
  EXPECT_FALSE(StoreOptionsOf(config).predict_demand);
  config.predict_demand = true;
  config.eviction_policy = "lru";
  config.object_ttl = absl::Minutes(5);
  config.tenants = Parsed("a:quota=10,priority=3,others:priority=0");
  config.disk_path = "/d";
  config.demote_above = 0.7;
  config.demote_below = 0.6;
  config.variants_per_content = 2;
  const storage::StoreOptions options = StoreOptionsOf(config);
  EXPECT_TRUE(options.predict_demand);
  EXPECT_EQ(options.eviction_policy, "lru");
  EXPECT_EQ(options.object_ttl, absl::Minutes(5));
  ASSERT_EQ(options.tenants.size(), 1u);
  ExpectRule(options.tenants[0], base::TenantOf("a"), 10, 3);
  EXPECT_EQ(options.other_tenants.priority, 0u);
  EXPECT_TRUE(options.has_disk);
  EXPECT_EQ(options.high_watermark, 0.7);
  EXPECT_EQ(options.low_watermark, 0.6);
  EXPECT_EQ(options.variants_per_content, 2u);
}

}  // namespace
}  // namespace cistern::cacheserver
