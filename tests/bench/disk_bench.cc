// The disk tier beside plain O_DIRECT file I/O of the same bytes, in the same sizes and the same
// order.
//
//   disk_bench [DIRECTORY] [MiB per round] [rounds]
//
// Writes go in batches of 64 MiB, each made durable; reads take whole values in random order,
// pieces of 2 MiB at most, one thread, past the page cache, so every read is cold. Rounds of the
// two alternate, because disks are noisy; medians are printed, and the lowest and highest of the
// plain file, which is the bound. Amplification is what the process has written to the disk
// (write_bytes of /proc/self/io), log and headers included, by what it was given. Room back: the
// longest of the rounds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "storage/tier/record.h"
#include "tests/unit/storage/disk_fixture.h"

namespace cistern::storage {
namespace {

constexpr uint64_t kBatchBytes = 64 << 20;
constexpr uint64_t kSourceBytes = 256 << 20;  // payload is taken from here, round and round

struct Rates {
  double write, read;
  double amplification;
  double reclaim_s;  // from a deletion of every other value to the room that it gives back
};

struct Plan {
  uint64_t value_bytes, total_bytes;
  std::span<std::byte> source, target;
  std::vector<uint64_t> order;  // of reads

  uint64_t values() const { return total_bytes / value_bytes; }
  std::span<const std::byte> Value(uint64_t i) const {
    return source.subspan(i % (kSourceBytes / value_bytes) * value_bytes, value_bytes);
  }
};

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "disk_bench: %s\n", why.c_str());
  std::exit(1);
}

// Touched once, page-aligned: neither fresh memory nor alignment is what is measured.
std::span<std::byte> Memory(uint64_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) Die("no memory");
  return {static_cast<std::byte*>(at), bytes};
}

// By this process, to disks.
uint64_t BytesWritten() {
  std::ifstream io("/proc/self/io");
  std::string name;
  for (uint64_t value = 0; io >> name >> value;) {
    if (name == "write_bytes:") return value;
  }
  return 0;
}

template <typename Work>
double MegabytesPerSecond(uint64_t bytes, Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return bytes / 1e6 /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Rates PlainFile(const std::string& directory, const Plan& plan) {
  const std::string path = directory + "/plain";
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_DIRECT | O_CLOEXEC, 0644);
  if (fd < 0) Die("no direct I/O in " + directory);
  const uint64_t step = std::min<uint64_t>(plan.value_bytes, kPieceBytes);
  Rates rates{};
  rates.write = MegabytesPerSecond(plan.total_bytes, [&] {
    for (uint64_t at = 0; at < plan.total_bytes; at += kPieceBytes) {
      const std::byte* from = plan.source.data() + at % kSourceBytes;
      if (pwrite(fd, from, kPieceBytes, static_cast<off_t>(at)) !=
          static_cast<ssize_t>(kPieceBytes))
        Die("pwrite");
      const uint64_t end = at + kPieceBytes;
      if ((end % kBatchBytes == 0 || end == plan.total_bytes) && fdatasync(fd) != 0)
        Die("fdatasync");
    }
  });
  rates.read = MegabytesPerSecond(plan.total_bytes, [&] {
    for (uint64_t value : plan.order) {
      for (uint64_t at = 0; at < plan.value_bytes; at += step) {
        const auto offset = static_cast<off_t>(value * plan.value_bytes + at);
        if (pread(fd, plan.target.data() + at, step, offset) != static_cast<ssize_t>(step))
          Die("pread");
      }
    }
  });
  close(fd);
  unlink(path.c_str());
  return rates;
}

// Nobody asks for it. What the file system says counts (st_blocks), not the tier.
double SecondsUntilRoomIsBack(DiskTier& tier, const std::string& path, const Plan& plan) {
  constexpr uint64_t kSlack = 8 << 20;  // of headers
  const uint64_t before = DirectoryBytes(path);
  std::vector<RecordKey> keys;
  for (uint64_t i = 0; i < plan.values(); i += 2) keys.push_back(Segment(i + 1, 0).key());
  const auto begin = std::chrono::steady_clock::now();
  if (const absl::Status deleted = tier.Delete(keys); !deleted.ok()) Die(deleted.ToString());
  while (DirectoryBytes(path) + keys.size() * plan.value_bytes > before + kSlack)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Rates Tier(const std::string& directory, const Plan& plan) {
  ScratchDirectory scratch(directory);
  auto opened = DiskTier::Open({.path = scratch.path()});
  if (!opened.ok()) Die(opened.status().ToString());
  DiskTier& tier = **opened;
  Rates rates{};
  const uint64_t written = BytesWritten();
  rates.write = MegabytesPerSecond(plan.total_bytes, [&] {
    std::vector<DiskTier::Item> items;
    for (uint64_t i = 0; i < plan.values(); ++i) {
      items.push_back({.header = Segment(i + 1, 0).header, .payload = {plan.Value(i)}});
      if (items.size() * plan.value_bytes < kBatchBytes && i + 1 < plan.values()) continue;
      for (const absl::Status& status : tier.Write(items)) {
        if (!status.ok()) Die(status.ToString());
      }
      items.clear();
    }
  });
  rates.amplification = static_cast<double>(BytesWritten() - written) / plan.total_bytes;
  rates.read = MegabytesPerSecond(plan.total_bytes, [&] {
    for (uint64_t i : plan.order) {
      const absl::Status status =
          tier.Read(Segment(i + 1, 0).key(), {plan.target.first(plan.value_bytes)});
      if (!status.ok()) Die(status.ToString());
    }
  });
  rates.reclaim_s = SecondsUntilRoomIsBack(tier, scratch.path(), plan);
  return rates;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

void Run(const std::string& directory, uint64_t value_bytes, uint64_t total_bytes, int rounds,
         std::span<std::byte> source, std::span<std::byte> target) {
  Plan plan{.value_bytes = value_bytes,
            .total_bytes = total_bytes / value_bytes * value_bytes,
            .source = source,
            .target = target};
  plan.order.resize(plan.values());
  std::iota(plan.order.begin(), plan.order.end(), 0);
  std::shuffle(plan.order.begin(), plan.order.end(), std::mt19937(7));
  std::vector<double> rate[4], ratio[2], amplification, reclaim;
  for (int round = 0; round < rounds; ++round) {
    const Rates plain = PlainFile(directory, plan), tier = Tier(directory, plan);
    for (int i = 0; i < 4; ++i)
      rate[i].push_back(i == 0   ? plain.write
                        : i == 1 ? tier.write
                        : i == 2 ? plain.read
                                 : tier.read);
    ratio[0].push_back(tier.write / plain.write);
    ratio[1].push_back(tier.read / plain.read);
    amplification.push_back(tier.amplification);
    reclaim.push_back(tier.reclaim_s);
  }
  const auto plain_write = std::minmax_element(rate[0].begin(), rate[0].end());
  const auto plain_read = std::minmax_element(rate[2].begin(), rate[2].end());
  std::printf(
      "%8llu KiB   write %5.0f of %5.0f MB/s (%.2f; plain %.0f to %.0f)   read %5.0f of %5.0f MB/s "
      "(%.2f; plain %.0f to %.0f)   amplification %.3f   room back in %.1f s\n",
      static_cast<unsigned long long>(value_bytes >> 10), Median(rate[1]), Median(rate[0]),
      Median(ratio[0]), *plain_write.first, *plain_write.second, Median(rate[3]), Median(rate[2]),
      Median(ratio[1]), *plain_read.first, *plain_read.second, Median(amplification),
      *std::max_element(reclaim.begin(), reclaim.end()));
  std::fflush(stdout);
}

}  // namespace
}  // namespace cistern::storage

int main(int argc, char** argv) {
  using namespace cistern::storage;  // NOLINT(google-build-using-namespace)
  const std::string directory = argc > 1 ? argv[1] : "/tmp";
  const uint64_t total_bytes = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 512) << 20;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  if (total_bytes < kBatchBytes || total_bytes % kBatchBytes != 0 || rounds < 1) {
    Die("use: disk_bench [DIRECTORY] [MiB per round, a multiple of 64] [rounds]");
  }
  const auto source = Memory(kSourceBytes), target = Memory(kBatchBytes);
  std::mt19937_64 random(1);
  for (uint64_t i = 0; i < kSourceBytes; i += 8) {
    const uint64_t word = random();
    std::memcpy(source.data() + i, &word, sizeof(word));
  }
  std::printf("the disk tier, of a plain O_DIRECT file (ratio of the same round, median of %d)\n",
              rounds);
  for (uint64_t kib : {64, 2048, 16384, 18432})
    Run(directory, kib << 10, total_bytes, rounds, source, target);
}
