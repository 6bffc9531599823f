#include "tools/bench/row_model.h"

#include <cmath>
#include <cstring>

#include "gtest/gtest.h"

#include "base/model_presets.h"

namespace cistern::tools {
namespace {

using Row = std::array<std::byte, RowModel::kMaxRowBytes>;

base::ModelSpec Spec(absl::string_view preset) { return base::ModelPreset(preset).value(); }

Row RowOf(RowModel& model, base::TokenId token, uint32_t layer, uint32_t position) {
  Row row{};
  model.WriteRow(token, layer, position, row.data());
  return row;
}

TEST(RowModelTest, OnlyTheRotaryPartDependsOnPosition) {
  RowModel model(Spec("deepseek-v2-lite"));
  const Row at_10 = RowOf(model, 77, 3, 10), at_500 = RowOf(model, 77, 3, 500);
  EXPECT_EQ(std::memcmp(at_10.data(), at_500.data(), 1024), 0);
  EXPECT_NE(std::memcmp(at_10.data() + 1024, at_500.data() + 1024, 128), 0);
}

TEST(RowModelTest, EveryByteOfAWrongRowIsNoticed) {
  RowModel model(Spec("deepseek-v2-lite"));
  const Row row = RowOf(model, 77, 3, 10);
  EXPECT_TRUE(model.RowEquals(77, 3, 10, row.data()));
  EXPECT_FALSE(model.RowEquals(78, 3, 10, row.data()));
  EXPECT_FALSE(model.RowEquals(77, 4, 10, row.data()));
  EXPECT_FALSE(model.RowEquals(77, 3, 11, row.data()));
  for (size_t i = 0; i < 1152; i += 7) {
    Row damaged = row;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(model.RowEquals(77, 3, 10, damaged.data())) << "byte " << i;
  }
}

TEST(RowModelTest, AtPositionZeroTheKeyIsUnrotated) {
  RowModel model(Spec("deepseek-v2-lite"));
  const Row row = RowOf(model, 5, 0, 0);
  std::array<std::byte, 128> k_r;
  model.WritePreRope(5, 0, k_r.data());
  EXPECT_EQ(std::memcmp(row.data() + 1024, k_r.data(), 128), 0);
}

// The stated bound takes a one-ulp difference and refuses a rotation to a neighbouring position.
TEST(RowModelTest, NearIsABoundAndNotAFreePass) {
  RowModel model(Spec("deepseek-v2-lite"));
  Row row = RowOf(model, 5, 1, 1000);
  EXPECT_TRUE(model.RowNear(5, 1, 200, 1000, row.data()));
  EXPECT_FALSE(model.RowNear(5, 1, 200, 1001, row.data()));
  row[0] ^= std::byte{1};
  EXPECT_FALSE(model.RowNear(5, 1, 200, 1000, row.data()));
}

TEST(RowModelTest, NopeRowsDoNotTurn) {
  RowModel model(Spec("kimi-linear"));
  EXPECT_EQ(RowOf(model, 9, 0, 1), RowOf(model, 9, 0, 900));
}

// Rows larger than any latent one, and a turn that nobody knows.
TEST(RowModelTest, OpaqueRowsDependOnTokenLayerAndPosition) {
  const base::ModelSpec spec = Spec("jamba-1.5-mini");
  ASSERT_EQ(spec.row_bytes, 4096u);
  RowModel model(spec);
  std::vector<std::byte> row(spec.row_bytes + 1, std::byte{0x5a});
  model.WriteRow(9, 1, 500, row.data());
  EXPECT_EQ(row.back(), std::byte{0x5a});
  EXPECT_TRUE(model.RowEquals(9, 1, 500, row.data()));
  EXPECT_FALSE(model.RowEquals(9, 1, 501, row.data()));
  EXPECT_FALSE(model.RowEquals(9, 2, 500, row.data()));
  EXPECT_FALSE(model.RowEquals(8, 1, 500, row.data()));
  for (size_t i = 0; i < spec.row_bytes; i += 13) {
    row[i] ^= std::byte{1};
    EXPECT_FALSE(model.RowEquals(9, 1, 500, row.data())) << "byte " << i;
    row[i] ^= std::byte{1};
  }
}

}  // namespace
}  // namespace cistern::tools
