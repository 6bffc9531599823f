// The seed of a randomised test: `--seed=N` on the command line, CISTERN_SEED in the environment,
// or the test's own, so that a run can be repeated; `random` in place of N throws dice. And how
// long it goes on: CISTERN_STEPS in the environment (10000000 is the long form), or the test's own
// number.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>
#include <string>

namespace cistern::model_test {

inline uint64_t SeedOf(const char* text) {
  return std::string(text) == "random" ? std::random_device{}() : std::strtoull(text, nullptr, 10);
}

inline std::optional<uint64_t> GivenSeed() {
  std::ifstream command_line("/proc/self/cmdline");
  for (std::string word; std::getline(command_line, word, '\0');) {
    if (word.rfind("--seed=", 0) == 0) return SeedOf(word.c_str() + 7);
  }
  const char* value = std::getenv("CISTERN_SEED");  // NOLINT(concurrency-mt-unsafe)
  if (value == nullptr) return std::nullopt;
  return SeedOf(value);
}

// Random operations in all, over the worlds of one test.
inline uint64_t StepsOr(uint64_t own) {
  const char* value = std::getenv("CISTERN_STEPS");  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? own : std::strtoull(value, nullptr, 10);
}

}  // namespace cistern::model_test
