// How fast a prompt is cut, beside the fastest that its tokens can be read at all: one pass that
// sums them. The tokens are far more than a cache holds; ids follow Zipf's law, as text does, with
// a turn marker every few hundred.
//
//   chunker_bench [--benchmark_filter=...]        five runs each, the median counts
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "client_lib/src/chunker.h"

namespace cistern::client {
namespace {

using base::TokenId;

constexpr size_t kTokens = 64 << 20;  // 256 MiB
constexpr double kVocabulary = 128000;
constexpr TokenId kMarker = 128006;  // beyond the vocabulary, as special tokens are
constexpr int kRuns = 5;

const std::vector<TokenId>& Prompt() {
  static const auto* const prompt = [] {
    auto* tokens = new std::vector<TokenId>(kTokens);
    std::mt19937_64 random(1);
    std::uniform_real_distribution<float> log_rank(0, static_cast<float>(std::log(kVocabulary)));
    std::uniform_int_distribution<size_t> turn(50, 1200);
    for (TokenId& token : *tokens) token = static_cast<TokenId>(std::exp(log_rank(random))) - 1;
    for (size_t at = 0; at < kTokens; at += turn(random)) (*tokens)[at] = kMarker;
    return tokens;
  }();
  return *prompt;
}

void ReportRate(benchmark::State& state) {
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(kTokens));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) *
                          static_cast<int64_t>(kTokens * sizeof(TokenId)));
}

void BM_Sum(benchmark::State& state) {
  const std::vector<TokenId>& tokens = Prompt();
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::accumulate(tokens.begin(), tokens.end(), uint64_t{0}));
  }
  ReportRate(state);
}

// With 0: none, 1: one marker, 16: as many as a chat template with tools has.
void BM_Chunk(benchmark::State& state) {
  const std::vector<TokenId>& tokens = Prompt();
  std::vector<TokenId> boundary_tokens(static_cast<size_t>(state.range(0)));
  std::iota(boundary_tokens.begin(), boundary_tokens.end(), kMarker);
  std::vector<uint32_t> ends;
  ends.reserve(kTokens / Chunker::kMinTokens);
  for (auto _ : state) {
    ends.clear();
    Chunker chunker(boundary_tokens, &ends);
    chunker.Append(tokens);
    chunker.Finish();
    benchmark::DoNotOptimize(ends.data());
  }
  if (ends.empty() || ends.back() != kTokens) state.SkipWithError("the chunks do not add up");
  ReportRate(state);
  state.counters["tokens/chunk"] =
      static_cast<double>(kTokens) / static_cast<double>(std::max<size_t>(1, ends.size()));
}

void Median(benchmark::internal::Benchmark* bench) {
  bench->Repetitions(kRuns)->ReportAggregatesOnly(true)->UseRealTime()->Unit(
      benchmark::kMillisecond);
}
BENCHMARK(BM_Sum)->Apply(Median);
BENCHMARK(BM_Chunk)->ArgName("boundary_tokens")->Arg(0)->Arg(1)->Arg(16)->Apply(Median);

}  // namespace
}  // namespace cistern::client
