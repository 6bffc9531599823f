// One block taken, one given back, one reference resolved: ns per operation with 10^3 to 10^7
// blocks in use, so that what is not O(1) shows. Blocks are given back in the order of a queue and
// in random order; in random order each operation waits for the memory behind its own handle, which
// the last line measures alone as the limit.
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "storage/pool/asymmetric_pools.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBlockBytes = 64;

struct Filled {
  explicit Filled(uint64_t num_blocks)
      : arena(Arena::Create({.bytes = num_blocks * kBlockBytes * 5 / 4 + (1 << 20),
                             .max_handles = static_cast<uint32_t>(num_blocks + num_blocks / 8 + 64),
                             .pre_touch = false})
                  .value()),
        pools(arena.get()),
        pool(pools.PoolFor(kBlockBytes).value()) {
    pools.Allocate(pool, static_cast<uint32_t>(num_blocks), &handles);
  }
  void Shuffle() { std::shuffle(handles.begin(), handles.end(), std::mt19937_64(1)); }

  std::unique_ptr<Arena> arena;
  AsymmetricPools pools;
  PoolId pool;
  std::vector<Handle> handles;
};

// Gives one back and takes one, over all blocks in turn.
void Turnover(benchmark::State& state, bool shuffled) {
  Filled filled(static_cast<uint64_t>(state.range(0)));
  if (shuffled) filled.Shuffle();
  std::vector<Handle> taken;
  size_t i = 0;
  for (auto _ : state) {
    filled.pools.Free(filled.handles[i]);
    taken.clear();
    filled.pools.Allocate(filled.pool, 1, &taken);
    filled.handles[i] = taken[0];
    if (++i == filled.handles.size()) i = 0;
  }
  state.SetItemsProcessed(2 * state.iterations());
}
void TurnoverInOrder(benchmark::State& state) { Turnover(state, false); }
void TurnoverShuffled(benchmark::State& state) { Turnover(state, true); }

// The same by objects of eight blocks, as a cache holds them: what is eight places apart in memory
// is fetched side by side.
void TurnoverOfObjects(benchmark::State& state) {
  constexpr size_t kBlocks = 8;
  Filled filled(static_cast<uint64_t>(state.range(0)));
  filled.Shuffle();
  std::vector<Handle> taken;
  size_t i = 0;
  for (auto _ : state) {
    const absl::Span<Handle> object = absl::MakeSpan(filled.handles).subspan(i, kBlocks);
    filled.pools.FreeAll(object);
    taken.clear();
    filled.pools.Allocate(filled.pool, kBlocks, &taken);
    std::copy(taken.begin(), taken.end(), object.begin());
    i += kBlocks;
    if (i + kBlocks > filled.handles.size()) i = 0;
  }
  state.SetItemsProcessed(2 * kBlocks * state.iterations());
}

void Resolve(benchmark::State& state) {
  Filled filled(static_cast<uint64_t>(state.range(0)));
  std::vector<base::BlockRef> refs;
  refs.reserve(filled.handles.size());
  for (const Handle handle : filled.handles) refs.push_back(filled.pools.Ref(handle));
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(filled.pools.table().Resolve(refs[i]));
    if (++i == refs.size()) i = 0;
  }
  state.SetItemsProcessed(state.iterations());
}

// The limit of anything that looks a shuffled handle up: one dependent read of 32 bytes.
void ReadShuffled(benchmark::State& state) {
  std::vector<PageEntry> entries(static_cast<size_t>(state.range(0)));
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(1));
  for (size_t i = 0; i < entries.size(); ++i)
    entries[order[i]].index = order[(i + 1) % entries.size()];
  uint32_t at = order[0];
  for (auto _ : state) benchmark::DoNotOptimize(at = entries[at].index);
  state.SetItemsProcessed(state.iterations());
}

void Sizes(benchmark::internal::Benchmark* bench) {
  bench->RangeMultiplier(10)->Range(1'000, 10'000'000)->Repetitions(5)->ReportAggregatesOnly();
}
BENCHMARK(TurnoverInOrder)->Apply(Sizes);
BENCHMARK(TurnoverShuffled)->Apply(Sizes);
BENCHMARK(TurnoverOfObjects)->Apply(Sizes);
BENCHMARK(Resolve)->Apply(Sizes);
BENCHMARK(ReadShuffled)->Apply(Sizes);

}  // namespace
}  // namespace cistern::storage
