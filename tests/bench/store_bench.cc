// What a store call costs. Find of 64 keys must stay at a few microseconds: it is what every prompt
// begins with.
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>
#include <malloc.h>

#include "absl/strings/str_cat.h"

#include "storage/arena.h"
#include "storage/store.h"

namespace cistern::storage {
namespace {

constexpr uint32_t kChunkTokens = 128;
constexpr size_t kKeys = 64;

// Two layers of DeepSeek-V2-Lite: pages of 36,864 bytes. 0: pages of 4 KiB, where only their
// number counts.
base::ModelSpec Model(uint32_t layers) {
  base::ModelSpec spec;
  spec.name = "bench";
  spec.num_layers = layers;
  if (layers != 0) return spec;
  spec.layout = base::RowLayout::kOpaque;
  spec.num_layers = 1;
  spec.row_bytes = 256;
  return spec;
}

struct Node {
  explicit Node(uint64_t arena_bytes, uint32_t layers = 2, bool has_disk = false)
      : arena(
            Arena::Create({.bytes = arena_bytes, .huge_pages = false, .pre_touch = false}).value()),
        store({.has_disk = has_disk}, arena.get()),
        model(Model(layers)),
        keys(model.Fingerprint(), "") {
    store.RegisterModel(model).IgnoreError();
  }
  base::ObjectHeader Header(uint32_t text) const {
    base::ObjectHeader header;
    header.model = keys_model();
    header.tokens.assign(kChunkTokens, text);
    header.content = keys.Content(header.tokens);
    header.parent_context = keys.ContextSeed();
    header.context = base::KeySpace::Context(header.parent_context, header.content);
    return header;
  }
  base::Key keys_model() const { return model.Fingerprint(); }
  ObjectId Put(const base::ObjectHeader& header) {
    const Reservation reservation = store.Reserve(1, header, absl::UnixEpoch()).value();
    store.MarkWritten(1, reservation.id, 0, model.num_layers).IgnoreError();
    return store.Commit(1, reservation.id, absl::UnixEpoch()).value();
  }

  std::unique_ptr<Arena> arena;
  Store store;
  base::ModelSpec model;
  base::KeySpace keys;
};

// Of `objects` stored segments, 64 neighbours are looked up: all hits, or all misses that would
// take any context.
void BM_Find64(benchmark::State& state) {
  const auto objects = static_cast<uint32_t>(state.range(0));
  const bool hit = state.range(1) != 0;
  Node node(objects * 8ull * 36'864 + (16 << 20));
  std::vector<FindQuery> queries;
  for (uint32_t i = 0; i < objects; ++i) {
    const base::ObjectHeader header = node.Header(i);
    node.Put(header);
    if (hit)
      queries.push_back(
          {.content = header.content, .context = header.context, .accept_content = true});
  }
  for (uint32_t i = 0; i < objects && !hit; ++i) {
    const base::ObjectHeader header = node.Header(i + (1u << 30));
    queries.push_back(
        {.content = header.content, .context = header.context, .accept_content = true});
  }
  size_t at = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < kKeys; ++i) benchmark::DoNotOptimize(node.store.Find(queries[at + i]));
    at = (at + 8191) % (queries.size() - kKeys);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kKeys));
}
BENCHMARK(BM_Find64)
    ->ArgNames({"objects", "hit"})
    ->ArgsProduct({{1000, 100'000}, {0, 1}})
    ->Unit(benchmark::kMicrosecond);

void BM_AcquireRelease(benchmark::State& state) {
  Node node(8ull * 36'864 * 20'000);
  std::vector<ObjectId> ids;
  for (uint32_t i = 0; i < 10'000; ++i) ids.push_back(node.Put(node.Header(i)));
  size_t at = 0;
  for (auto _ : state) {
    const Lease lease = node.store.Acquire(1, ids[at], absl::UnixEpoch()).value();
    benchmark::DoNotOptimize(node.store.Release(1, lease.id));
    at = (at + 4099) % ids.size();
  }
}
BENCHMARK(BM_AcquireRelease);

// The arena is full: each new segment of 8 pages evicts an old one.
void BM_ReserveCommitEvict(benchmark::State& state) {
  const auto objects = static_cast<uint64_t>(state.range(0));
  Node node(objects * 8ull * 36'864);
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 2 * objects; ++i) headers.push_back(node.Header(i));
  for (uint32_t i = 0; i < objects; ++i) node.Put(headers[i]);
  size_t at = objects;
  for (auto _ : state) {
    node.Put(headers[at]);
    at = at + 1 == headers.size() ? 0 : at + 1;
  }
  state.counters["evicted"] = static_cast<double>(node.store.Stats().evicted_objects);
}
BENCHMARK(BM_ReserveCommitEvict)->Arg(1000)->Arg(100'000);

size_t HeapBytes() { return mallinfo2().uordblks + mallinfo2().hblkhd; }

// Heap that a segment of 8 pages costs beyond its payload and its token ids, in memory or on disk
// only. Each continues the one before it, as the chunks of prompts do: `prompt` of them in a row.
void BM_IndexBytes(benchmark::State& state) {
  const auto objects = static_cast<uint32_t>(state.range(0));
  const auto prompt = static_cast<uint32_t>(state.range(1));
  const bool on_disk = state.range(2) != 0;
  double bytes = 0;
  for (auto _ : state) {
    Node node(objects * 8ull * 4096, 0, on_disk);
    const size_t before = HeapBytes();
    base::Key past;
    for (uint32_t i = 0; i < objects; ++i) {
      base::ObjectHeader header = node.Header(i);
      if (i % prompt != 0) header.parent_context = past;
      header.base_position = i % prompt * kChunkTokens;
      header.context = base::KeySpace::Context(header.parent_context, header.content);
      past = header.context;
      if (on_disk) {
        node.store.AddDiskRecord(header, absl::UnixEpoch()).IgnoreError();
      } else {
        node.Put(header);
      }
    }
    bytes =
        static_cast<double>(HeapBytes() - before) / objects - kChunkTokens * sizeof(base::TokenId);
  }
  state.counters["bytes_per_segment"] = bytes;
}
BENCHMARK(BM_IndexBytes)
    ->ArgNames({"objects", "prompt", "disk"})
    ->ArgsProduct({{1000, 100'000}, {1, 16}, {0, 1}})
    ->Iterations(1);

// The same after much has gone: of 1 to 8 pages, each object in the place of others, 10 times as
// many as there is room for. What the policy remembers of those that went is in it.
void BM_IndexBytesLater(benchmark::State& state) {
  const auto objects = static_cast<uint32_t>(state.range(0));
  const bool mixed = state.range(1) != 0;
  double bytes = 0;
  for (auto _ : state) {
    Node node(objects * 8ull * 4096, 0);
    const size_t before = HeapBytes();
    for (uint32_t i = 0; i < 10 * objects; ++i) {
      base::ObjectHeader header = node.Header(i);
      if (mixed) header.tokens.resize(16 + i * 2654435761u % 8 * 16);
      node.Put(header);
    }
    uint64_t tokens = 0;
    node.store.List({.all = true}, 0, ~0u, [&](const ObjectView& view, bool, uint32_t, double) {
      tokens += view.header->num_tokens();
    });
    bytes = static_cast<double>(HeapBytes() - before - tokens * sizeof(base::TokenId)) /
            static_cast<double>(node.store.Stats().objects_memory);
  }
  state.counters["bytes_per_segment"] = bytes;
}
BENCHMARK(BM_IndexBytesLater)
    ->ArgNames({"objects", "mixed"})
    ->ArgsProduct({{10'000}, {0, 1}})
    ->Iterations(1);

// 2 GiB, touched: in small pages, and in huge ones.
void BM_CreateArena(benchmark::State& state) {
  const uint64_t bytes = uint64_t{2} << 30;
  for (auto _ : state) {
    auto arena =
        Arena::Create({.bytes = bytes, .huge_pages = state.range(0) != 0, .pre_touch = true});
    benchmark::DoNotOptimize(arena);
    state.PauseTiming();
    arena = absl::UnknownError("gone");
    state.ResumeTiming();
  }
}
BENCHMARK(BM_CreateArena)
    ->ArgName("huge")
    ->Arg(0)
    ->Arg(1)
    ->Iterations(5)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// Two models of unlike page sizes fight for a full arena.
void BM_MixedSizesEvict(benchmark::State& state) {
  Node node(4ull << 30);
  base::ModelSpec deep = Model(27);
  node.store.RegisterModel(deep).IgnoreError();
  const base::KeySpace deep_keys(deep.Fingerprint(), "");
  std::vector<base::ObjectHeader> headers;
  for (uint32_t i = 0; i < 40'000; ++i) {
    headers.push_back(node.Header(i));
    if (i % 8 != 0) continue;
    base::ObjectHeader& header = headers.back();
    header.model = deep.Fingerprint();
    header.content = deep_keys.Content(header.tokens);
  }
  size_t at = 0;
  for (auto _ : state) {
    const base::ObjectHeader& header = headers[at];
    const Reservation reservation = node.store.Reserve(1, header, absl::UnixEpoch()).value();
    if (reservation.outcome == Reservation::Outcome::kReserved) {
      const uint32_t layers = node.store.FindModel(header.model)->num_layers;
      node.store.MarkWritten(1, reservation.id, 0, layers).IgnoreError();
      benchmark::DoNotOptimize(node.store.Commit(1, reservation.id, absl::UnixEpoch()));
    }
    at = at + 1 == headers.size() ? 0 : at + 1;
  }
  const StoreStats stats = node.store.Stats();
  state.counters["evicted"] = static_cast<double>(stats.evicted_objects);
  state.counters["used"] =
      static_cast<double>(stats.used_bytes) / static_cast<double>(stats.arena_bytes);
}
BENCHMARK(BM_MixedSizesEvict)->Iterations(100'000);

}  // namespace
}  // namespace cistern::storage
