// One block taken, one given back, one reference resolved: ns per operation with 10^3 to 10^7
// blocks in use, so that what is not O(1) shows. Blocks are given back in the order of a queue and
// in random order; in random order each operation waits for the memory behind its own handle, which
// ReadShuffled measures alone as the limit. What moving blocks costs is a line of its own.
#include <algorithm>
#include <chrono>
#include <cstring>
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
    benchmark::DoNotOptimize(filled.pools.Resolve(refs[i]));
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

// What Allocate never pays for: making room for a block of 256 KiB out of the holes of 64 KiB
// pages, a quarter of them free at random places, in an arena of so many MiB. `copy`: with the
// bytes, or only the search and the bookkeeping. One GatherRoom an iteration; filling up again is
// not timed.
void Rebalance(benchmark::State& state, bool copy) {
  constexpr uint64_t kPage = 64 << 10;
  const auto arena = Arena::Create({.bytes = static_cast<uint64_t>(state.range(0)) << 20,
                                    .huge_pages = false,
                                    .pre_touch = copy})
                         .value();
  AsymmetricPools pools(arena.get());
  const PoolId page = pools.PoolFor(kPage).value();
  const PoolId large = pools.PoolFor(4 * kPage).value();
  std::mt19937_64 random(1);
  std::vector<Handle> handles;
  uint64_t moved = 0;
  for (auto _ : state) {
    const size_t held = handles.size();
    pools.Allocate(page, UINT32_MAX, &handles);
    for (size_t i = held; i < handles.size(); ++i) pools.SetMovable(handles[i], true);
    std::shuffle(handles.begin(), handles.end(), random);
    const size_t keep = handles.size() * 3 / 4;
    pools.FreeAll(absl::MakeSpan(handles).subspan(keep));
    handles.resize(keep);
    for (size_t i = 0; i < keep; ++i) pools.SetOwner(handles[i], i + 1);
    const auto begin = std::chrono::steady_clock::now();
    moved += pools.GatherRoom(large, [&](Handle from, Handle to) {
      if (copy) memcpy(arena->At(pools.Ref(to).offset), arena->At(pools.Ref(from).offset), kPage);
      handles[pools.table().at(from).owner - 1] = to;
    });
    state.SetIterationTime(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  if (moved == 0) state.SkipWithError("nothing moved");
  state.counters["moved_bytes"] =
      benchmark::Counter(static_cast<double>(moved), benchmark::Counter::kAvgIterations,
                         benchmark::Counter::OneK::kIs1024);
  state.counters["slabs"] = static_cast<double>(pools.counts(page).slabs);
}
void RebalanceBookkeeping(benchmark::State& state) { Rebalance(state, false); }
void RebalanceWithCopies(benchmark::State& state) { Rebalance(state, true); }

void Sizes(benchmark::internal::Benchmark* bench) {
  bench->RangeMultiplier(10)->Range(1'000, 10'000'000)->Repetitions(5)->ReportAggregatesOnly();
}
BENCHMARK(TurnoverInOrder)->Apply(Sizes);
BENCHMARK(TurnoverShuffled)->Apply(Sizes);
BENCHMARK(TurnoverOfObjects)->Apply(Sizes);
BENCHMARK(Resolve)->Apply(Sizes);
BENCHMARK(ReadShuffled)->Apply(Sizes);
BENCHMARK(RebalanceBookkeeping)->Arg(256)->Arg(1024)->Arg(16384)->Iterations(30)->UseManualTime();
BENCHMARK(RebalanceWithCopies)->Arg(256)->Arg(1024)->Iterations(30)->UseManualTime();

}  // namespace
}  // namespace cistern::storage
