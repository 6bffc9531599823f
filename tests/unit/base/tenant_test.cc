// A tenant's salt and its number mean the same tenant.
#include "base/tenant.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/key.h"

namespace cistern::base {
namespace {

TEST(TenantTest, ASaltOrWhatIsShownOfIt) {
  EXPECT_EQ(*ParseTenant("team-a"), TenantOf("team-a"));
  EXPECT_EQ(*ParseTenant(TenantText(TenantOf("team-a"))), TenantOf("team-a"));
  EXPECT_EQ(*ParseTenant(""), 0u);
  EXPECT_EQ(TenantText(0), "0x0000000000000000");
  EXPECT_EQ(TenantText(0xd8919ace7a274aa9u), "0xd8919ace7a274aa9");
  EXPECT_EQ(*ParseTenant("0xD8919ACE7A274AA9"), 0xd8919ace7a274aa9u);
  EXPECT_EQ(*ParseTenant("17"), TenantOf("17"));
}

TEST(TenantTest, HalfANumberIsNoSalt) {
  for (const char* text : {"0x", "0x1", "0x0123456789abcdeg", "0x0123456789abcdef0",
                           "0x+123456789abcdef", "0x 123456789abcdef"}) {
    const absl::StatusOr<uint64_t> tenant = ParseTenant(text);
    EXPECT_EQ(tenant.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(tenant.status().message()), testing::HasSubstr("16 hex digits"));
  }
}

}  // namespace
}  // namespace cistern::base
