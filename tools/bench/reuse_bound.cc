#include "tools/bench/reuse_bound.h"

#include <algorithm>
#include <vector>

namespace cistern::tools {
namespace {

constexpr uint64_t kBase = 0x9E3779B97F4A7C15 | 1;

uint64_t Mix(base::TokenId token) {
  uint64_t x = token + 0xD1B54A32D192ED03;
  x = (x ^ (x >> 32)) * 0xBEA225F9EB34556D;
  x = (x ^ (x >> 29)) * 0xBEA225F9EB34556D;
  return x ^ (x >> 32);
}

// Polynomial hashes of every run of kRun tokens, rolled from one to the next.
std::vector<uint64_t> RunHashes(std::span<const base::TokenId> tokens) {
  std::vector<uint64_t> hashes;
  uint64_t oldest_weight = 1;
  for (size_t i = 1; i < ReuseBound::kRun; ++i) oldest_weight *= kBase;
  uint64_t hash = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i >= ReuseBound::kRun) hash -= Mix(tokens[i - ReuseBound::kRun]) * oldest_weight;
    hash = hash * kBase + Mix(tokens[i]);
    if (i + 1 >= ReuseBound::kRun) hashes.push_back(hash);
  }
  return hashes;
}

}  // namespace

uint64_t ReuseBound::Add(std::span<const base::TokenId> prompt) {
  const std::vector<uint64_t> hashes = RunHashes(prompt);
  uint64_t covered = 0;
  size_t covered_to = 0;
  for (size_t i = 0; i < hashes.size(); ++i) {
    if (!seen_.contains(hashes[i])) continue;
    covered += i + kRun - std::max(covered_to, i);
    covered_to = i + kRun;
  }
  seen_.insert(hashes.begin(), hashes.end());
  return covered;
}

}  // namespace cistern::tools
