// The table against its own formula, its bounds, and many threads asking for the same new pages.
#include "kernels/rotary/rotary_table.h"

#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "test_support.h"

namespace cistern::kernels {
namespace {

using ::testing::HasSubstr;

TEST(RotaryTable, EntriesAreFp32AnglesRoundedOnce) {
  const base::RotarySpec spec = YarnRotary();
  const auto table = MakeTable(spec, RotaryArithmetic::kFp32Table);
  const std::vector<double> inv_freq = spec.InverseFrequencies();
  for (uint32_t position :
       {0u, 1u, 1023u, 1024u, 4097u, 1'000'000u, 1u << 24, RotaryTable::kMaxPositions - 1}) {
    const float* entry = table->At(position);
    for (uint32_t i = 0; i < 32; ++i) {
      volatile float angle =
          static_cast<float>(position);  // volatile: no wider arithmetic in between
      angle = angle * static_cast<float>(inv_freq[i]);
      EXPECT_EQ(entry[i], static_cast<float>(std::cos(double{angle}))) << position << " pair " << i;
      EXPECT_EQ(entry[32 + i], static_cast<float>(std::sin(double{angle})))
          << position << " pair " << i;
    }
  }
}

TEST(RotaryTable, Bf16TablesHoldTheRoundedFp32Values) {
  const auto exact = MakeTable(ScaledRotary(), RotaryArithmetic::kFp32Table);
  for (RotaryArithmetic arithmetic : {RotaryArithmetic::kBf16Table, RotaryArithmetic::kBf16PerOp}) {
    const auto rounded = MakeTable(ScaledRotary(), arithmetic);
    for (uint32_t position : {0u, 5u, 70'000u}) {
      for (uint32_t i = 0; i < 64; ++i) {
        EXPECT_EQ(rounded->At(position)[i], RoundToBf16(exact->At(position)[i]));
      }
    }
  }
}

TEST(RotaryTable, MscaleMultipliesEveryEntry) {
  const auto scaled = MakeTable(ScaledRotary(), RotaryArithmetic::kFp32Table);
  const double mscale = 0.1 * std::log(40.0) + 1.0;
  for (uint32_t position : {0u, 3u, 99'999u}) {
    const float* entry = scaled->At(position);
    for (uint32_t i = 0; i < 32; ++i)
      EXPECT_NEAR(std::hypot(entry[i], entry[32 + i]), mscale, 1e-6);
  }
}

TEST(RotaryTable, MakesOnlyThePagesAskedFor) {
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kFp32Table);
  EXPECT_EQ(table->memory_bytes(), 0u);
  table->At(20'000'000);
  table->At(20'000'001);
  EXPECT_EQ(table->memory_bytes(), size_t{RotaryTable::kPagePositions} * 64 * sizeof(float));
}

TEST(RotaryTable, ThreadsGetOneAndTheSamePage) {
  const auto table = MakeTable(PlainRotary(), RotaryArithmetic::kBf16Table);
  constexpr uint32_t kThreads = 8, kPages = 6;
  std::vector<std::vector<const float*>> seen(kThreads);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < kPages; ++i) {
        const uint32_t page = (i + t) % kPages;  // in another order each
        const float* entry = table->At(page * RotaryTable::kPagePositions);
        seen[t].push_back(entry[0] == 0 ? nullptr
                                        : entry);  // reads what another thread may have written
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (uint32_t t = 0; t < kThreads; ++t) {
    for (uint32_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(seen[t][i], table->At((i + t) % kPages * RotaryTable::kPagePositions));
    }
  }
  EXPECT_EQ(table->memory_bytes(),
            size_t{kPages} * RotaryTable::kPagePositions * 64 * sizeof(float));
}

TEST(RotaryTable, NopeHasNoEntries) {
  base::RotarySpec spec;
  spec.style = base::RotaryStyle::kNone;
  EXPECT_TRUE(MakeTable(spec, RotaryArithmetic::kFp32Table)->identity());
}

TEST(RotaryTable, RefusesWhatHasNoTable) {
  const auto error = [](const base::RotarySpec& spec, uint32_t max_positions = 16) {
    auto table = RotaryTable::Create(spec, RotaryArithmetic::kFp32Table, max_positions);
    EXPECT_EQ(table.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(table.status().message());
  };
  EXPECT_THAT(error(PlainRotary(), 0), HasSubstr("max_positions is 0"));
  EXPECT_THAT(error(PlainRotary(), RotaryTable::kMaxPositions + 1), HasSubstr("max_positions"));
  for (uint32_t dim : {0u, 7u, 2048u}) {
    base::RotarySpec spec = PlainRotary();
    spec.dim = dim;
    EXPECT_THAT(error(spec), HasSubstr("dim is"));
  }
  EXPECT_THAT(error(PlainRotary(std::numeric_limits<double>::quiet_NaN())), HasSubstr("frequency"));
  base::RotarySpec spec = PlainRotary();
  spec.attention_factor = 0;
  EXPECT_THAT(error(spec), HasSubstr("scale that is not positive"));
}

}  // namespace
}  // namespace cistern::kernels
