// Sizes are read as people write them, never wrongly, and printed so that they can be read.
#include "base/units.h"

#include <limits>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

TEST(UnitsTest, ParsesSizes) {
  EXPECT_EQ(ParseBytes("0").value(), 0u);
  EXPECT_EQ(ParseBytes("4096").value(), 4096u);
  EXPECT_EQ(ParseBytes("4096B").value(), 4096u);
  EXPECT_EQ(ParseBytes("64KiB").value(), 65536u);
  EXPECT_EQ(ParseBytes("64k").value(), 65536u);
  EXPECT_EQ(ParseBytes("64KB").value(), 65536u);
  EXPECT_EQ(ParseBytes("512MiB").value(), 512ull << 20);
  EXPECT_EQ(ParseBytes(" 4 GiB ").value(), 4ull << 30);
  EXPECT_EQ(ParseBytes("1TiB").value(), 1ull << 40);
  EXPECT_EQ(ParseBytes("3T").value(), 3ull << 40);
  EXPECT_EQ(ParseBytes("18446744073709551615").value(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(ParseBytes("16777215T").value(), 16777215ull << 40);
}

TEST(UnitsTest, RefusesWhatIsNoSize) {
  for (const char* text : {"", " ", "-1", "+1", "KiB", "1.5GiB", "4 Gib", "4PiB", "4GiBs", "0x10",
                           "1e3", "4i", "4 4", "18446744073709551616"}) {
    EXPECT_INVALID(ParseBytes(text), "is not a size");
  }
}

TEST(UnitsTest, RefusesOverflow) {
  EXPECT_INVALID(ParseBytes("16777216T"), "too large");
  EXPECT_INVALID(ParseBytes("18446744073709551615K"), "too large");
}

TEST(UnitsTest, FormatsSizes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1024), "1.00 KiB");
  EXPECT_EQ(FormatBytes(1536), "1.50 KiB");
  EXPECT_EQ(FormatBytes(10 * 1024 - 1), "10.0 KiB");
  EXPECT_EQ(FormatBytes(12 * 1024 + 512), "12.5 KiB");
  EXPECT_EQ(FormatBytes(100 * 1024 - 1), "100 KiB");
  EXPECT_EQ(FormatBytes(1000 << 10), "1000 KiB");
  EXPECT_EQ(FormatBytes((1 << 20) - 1), "1.00 MiB");
  EXPECT_EQ(FormatBytes(3ull << 30), "3.00 GiB");
  EXPECT_EQ(FormatBytes(1ull << 40), "1.00 TiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<uint64_t>::max()), "16777216 TiB");
}

TEST(UnitsTest, FormattedSizesOfWholeUnitsParseBack) {
  for (const uint64_t bytes : {1ull, 999ull, 512ull << 20, 100ull << 30}) {
    EXPECT_EQ(ParseBytes(FormatBytes(bytes)).value(), bytes);
  }
}

TEST(UnitsTest, FormatsCounts) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(1814386), "1,814,386");
  EXPECT_EQ(FormatCount(std::numeric_limits<uint64_t>::max()), "18,446,744,073,709,551,615");
}

}  // namespace
}  // namespace cistern::base
