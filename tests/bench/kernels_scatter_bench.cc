// Scatter with rotation beside memcpy of the same bytes, cold: source and destination are each far
// larger than the last level cache and are walked in turn, so that no byte is in a cache when it is
// asked for. Each round times memcpy and then every form, in the same process; printed are medians
// over rounds, and the median of the per-round ratios.
//
// usage: kernels_scatter_bench [rounds] [MiB per side]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <time.h>

#include "base/model_spec.h"
#include "kernels/rotary/rotary_table.h"
#include "kernels/rotary/turns.h"
#include "kernels/scatter/scatter.h"

namespace cistern::kernels {
namespace {

constexpr uint32_t kPageRows = base::ModelSpec::kPageTokens;

// Of this thread's processor time: the same as wall time for code that only computes, but other
// processes on the machine do not count.
double Seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Anonymous memory, huge pages asked for, every page touched before the clock starts.
std::byte* Map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  madvise(memory, bytes, MADV_HUGEPAGE);
  auto* bytes_at = static_cast<std::byte*>(memory);
  std::mt19937 random(7);
  for (size_t i = 0; i + 4 <= bytes; i += 4) {
    const uint32_t value = random() & 0x3fff3fff;  // finite bf16 pairs
    std::memcpy(bytes_at + i, &value, 4);
  }
  return bytes_at;
}

struct Shape {
  uint32_t layers = 27;
  uint32_t row_bytes = 1152;
  uint32_t rotary_offset = 1024;
  uint32_t tokens = 128;  // of one segment
  uint32_t block_size = 64;
};

enum class Move { kCopy, kPlace, kIdeal, kTable };

// Segments in pages that lie in shuffled order in `source`, scattered to shuffled blocks of
// `target`.
class Workload {
 public:
  Workload(const Shape& shape, std::byte* source, std::byte* target, size_t side_bytes)
      : shape_(shape), source_(source), target_(target) {
    const size_t page_bytes = size_t{kPageRows} * shape.layers * shape.row_bytes;
    const size_t segment_bytes = size_t{shape.tokens} * shape.layers * shape.row_bytes;
    // Whole blocks only, so that the last one does not pass the target's end.
    num_segments_ = side_bytes / segment_bytes / 4 * 4;
    const size_t pages_per_segment = shape.tokens / kPageRows;
    std::mt19937 random(11);
    pages_.resize(num_segments_ * pages_per_segment);
    for (size_t i = 0; i < pages_.size(); ++i) pages_[i] = source + i * page_bytes;
    std::shuffle(pages_.begin(), pages_.end(), random);
    num_blocks_ = num_segments_ * shape.tokens / shape.block_size;
    blocks_.resize(num_blocks_);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), random);
    const size_t layer_bytes = num_blocks_ * shape.block_size * shape.row_bytes;
    for (uint32_t l = 0; l < shape.layers; ++l) layers_.push_back(target + l * layer_bytes);
  }

  size_t total_bytes() const {
    return num_segments_ * shape_.tokens * size_t{shape_.layers} * shape_.row_bytes;
  }
  size_t segment_bytes() const { return total_bytes() / num_segments_; }
  uint32_t total_tokens() const { return static_cast<uint32_t>(num_segments_ * shape_.tokens); }

  void MemcpyAll() const {
    const size_t bytes = segment_bytes();
    for (size_t i = 0; i < num_segments_; ++i)
      std::memcpy(target_ + i * bytes, source_ + i * bytes, bytes);
  }

  void ScatterAll(Move move, const RotaryTable& table, bool by_layer) const {
    for (size_t i = 0; i < num_segments_; ++i) {
      ScatterParams params = Params(i);
      const Turns turns = MakeTurns(move, table, params.range.cache_token);
      params.turns = &turns;
      if (!by_layer) {
        Must(Scatter(params));
        continue;
      }
      params.range.num_layers = 1;
      params.stores = StoreHint::kStream;  // one layer of many
      for (uint32_t l = 0; l < shape_.layers; ++l) {
        params.range.first_layer = l;
        Must(Scatter(params));
      }
    }
  }

 private:
  static void Must(const absl::Status& status) {
    if (status.ok()) return;
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    std::exit(1);
  }

  ScatterParams Params(size_t segment) const {
    ScatterParams params;
    const uint32_t pages = shape_.tokens / kPageRows;
    params.source = {.pages = &pages_[segment * pages],
                     .num_pages = pages,
                     .page_rows = kPageRows,
                     .layer_stride = uint64_t{kPageRows} * shape_.row_bytes,
                     .num_layers = shape_.layers,
                     .row_bytes = shape_.row_bytes};
    params.cache = {.layers = layers_.data(),
                    .num_layers = shape_.layers,
                    .block_table = blocks_.data(),
                    .table_blocks = static_cast<uint32_t>(num_blocks_),
                    .num_blocks = static_cast<uint32_t>(num_blocks_),
                    .block_size = shape_.block_size,
                    .block_stride = uint64_t{shape_.block_size} * shape_.row_bytes,
                    .row_stride = shape_.row_bytes};
    params.range = {.num_layers = shape_.layers,
                    .num_tokens = shape_.tokens,
                    .cache_token = static_cast<uint32_t>(segment * shape_.tokens)};
    params.rotary_offset = shape_.rotary_offset;
    return params;
  }

  Turns MakeTurns(Move move, const RotaryTable& table, uint32_t position) const {
    constexpr uint32_t kBase = 77;
    if (move == Move::kCopy) return Turns();
    auto turns = move == Move::kPlace ? Turns::Place(table, position, shape_.tokens)
                 : move == Move::kIdeal
                     ? Turns::ShiftIdeal(table.spec(), int64_t{position} - kBase)
                     : Turns::ShiftTable(table, kBase, table, position, shape_.tokens);
    Must(turns.status());
    return *std::move(turns);
  }

  Shape shape_;
  std::byte* source_;
  std::byte* target_;
  size_t num_segments_ = 0;
  size_t num_blocks_ = 0;
  std::vector<const std::byte*> pages_;
  std::vector<int32_t> blocks_;
  std::vector<std::byte*> layers_;
};

struct Form {
  std::string name;
  Move move;
  bool by_layer = false;
};

void Report(const char* title, const Workload& work, const RotaryTable& table, int rounds) {
  const std::vector<Form> forms = {{"copy only", Move::kCopy},
                                   {"unrotated, table", Move::kPlace},
                                   {"rotated, ideal delta", Move::kIdeal},
                                   {"rotated, table ratio", Move::kTable},
                                   {"unrotated, by layer", Move::kPlace, true}};
  std::vector<double> copy_gbps;
  std::vector<std::vector<double>> gbps(forms.size()), ratio(forms.size());
  const double gb = static_cast<double>(work.total_bytes()) / 1e9;
  const auto rate = [&](const std::function<void()>& run) {
    const double start = Seconds();
    run();
    return gb / (Seconds() - start);
  };
  for (int round = 0; round < rounds; ++round) {
    for (size_t f = 0; f < forms.size(); ++f) {
      // memcpy right before each form: the machine's mood is the same for both.
      const double memcpy_rate = rate([&] { work.MemcpyAll(); });
      const double form_rate =
          rate([&] { work.ScatterAll(forms[f].move, table, forms[f].by_layer); });
      copy_gbps.push_back(memcpy_rate);
      gbps[f].push_back(form_rate);
      ratio[f].push_back(form_rate / memcpy_rate);
    }
  }
  std::printf("%s, %.2f MiB a call, %.0f MiB a side, %d rounds\n", title,
              static_cast<double>(work.segment_bytes()) / (1 << 20), gb * 1e9 / (1 << 20), rounds);
  std::printf("  %-24s %7.2f GB/s\n", "memcpy", Median(copy_gbps));
  for (size_t f = 0; f < forms.size(); ++f) {
    std::printf("  %-24s %7.2f GB/s   ratio %.3f\n", forms[f].name.c_str(), Median(gbps[f]),
                Median(ratio[f]));
  }
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
  const size_t side_bytes = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 512) << 20;
  if (rounds < 1 || side_bytes < (16u << 20)) {
    std::fprintf(stderr, "usage: kernels_scatter_bench [rounds >= 1] [MiB per side >= 16]\n");
    return 2;
  }
  std::byte* source = Map(side_bytes);
  std::byte* target = Map(side_bytes);
  auto table = RotaryTable::Create(base::RotarySpec{}, RotaryArithmetic::kFp32Table);
  const struct {
    const char* title;
    Shape shape;
  } shapes[] = {{"bf16_576, blocks of 64", {}},
                {"bf16_576, blocks of 16", {.block_size = 16}},
                {"bf16_576, three pages a call", {.tokens = 48}},
                {"fp8_ds_mla_656, blocks of 64", {.row_bytes = 656, .rotary_offset = 528}}};
  for (const auto& [title, shape] : shapes) {
    const Workload work(shape, source, target, side_bytes);
    for (uint32_t i = 0; i < work.total_tokens(); ++i)
      (*table)->At(i);  // tables are made once, not per segment
    Report(title, work, **table, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace cistern::kernels

int main(int argc, char** argv) { return cistern::kernels::Main(argc, argv); }
