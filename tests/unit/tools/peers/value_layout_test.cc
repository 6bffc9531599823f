// A paged sequence as one value: every row at its place, there and back.
#include "tools/bench/peers/value_layout.h"

#include <cstring>
#include <vector>

#include "gtest/gtest.h"

#include "base/model_presets.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kLayers = 3, kTokens = 150, kSequences = 2;  // two whole blocks and a part

class SampleSequences : public PagedObjects {
 public:
  SampleSequences()
      : PagedObjects(base::WithLayers(*base::ModelPreset("deepseek-v2-lite"), kLayers), kTokens,
                     kSequences) {
    for (uint32_t i = 0; i < kSequences; ++i) Draw(i, 7 + i);
  }
};

std::vector<std::byte> ValueOf(const PagedObjects& objects, uint32_t i) {
  std::vector<std::byte> value(uint64_t{kTokens} * objects.spec().token_bytes());
  GatherValue(objects, i, value.data());
  return value;
}

TEST(ValueLayoutTest, RowsLieByLayerThenByToken) {
  SampleSequences objects;
  objects.Compute(1);
  const std::vector<std::byte> value = ValueOf(objects, 1);
  const uint64_t row_bytes = objects.spec().row_bytes;
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    for (uint32_t token = 0; token < kTokens; ++token) {
      const std::byte* const at = value.data() + (uint64_t{layer} * kTokens + token) * row_bytes;
      ASSERT_EQ(std::memcmp(at, objects.Row(1, layer, token), row_bytes), 0)
          << "layer " << layer << ", token " << token;
    }
  }
}

TEST(ValueLayoutTest, WhatIsScatteredIsWhatWasGatheredAndNothingElseIsWritten) {
  SampleSequences sent, came;
  sent.Compute(0);
  sent.Compute(1);
  const std::vector<std::byte> value = ValueOf(sent, 0);
  ScatterValue(value.data(), 0, came);
  EXPECT_EQ(came.Mismatches(0), 0u);
  EXPECT_EQ(DifferentRows(came, sent, 0), 0u);
  EXPECT_EQ(DifferentRows(came, sent, 1), kLayers * kTokens);
  for (uint32_t token = 0; token < kTokens; ++token) {
    const std::byte* const row = came.Row(1, 0, token);
    for (uint32_t at = 0; at < came.spec().row_bytes; ++at) ASSERT_EQ(row[at], std::byte{0});
  }
}

TEST(ValueLayoutTest, OneWrongByteIsOneDifferentRow) {
  SampleSequences sent, came;
  sent.Compute(0);
  came.Compute(0);
  EXPECT_EQ(DifferentRows(came, sent, 0), 0u);
  came.Row(0, kLayers - 1, kTokens - 1)[came.spec().row_bytes - 1] ^= std::byte{1};
  EXPECT_EQ(DifferentRows(came, sent, 0), 1u);
}

}  // namespace
}  // namespace cistern::tools
