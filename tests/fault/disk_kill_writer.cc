// The process that disk_kill_test kills: writes, replaces and deletes objects for ever, and says so
// before and after.
//
//   disk_kill_writer DIRECTORY SEED
//   "> KEY VERSION\n" before an object gets VERSION (0: is deleted), "= KEY VERSION\n" once that is
//   acknowledged
//
// Each of its threads owns some keys, so that the lines of one key are in order.
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include "tests/fault/disk_kill_object.h"

namespace cistern::storage {
namespace {

void Say(char sign, uint64_t key, uint64_t version) {
  const std::string line =
      std::string(1, sign) + " " + std::to_string(key) + " " + std::to_string(version) + "\n";
  if (write(STDOUT_FILENO, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(2);
}

void Run(DiskTier& tier, uint64_t thread, uint64_t seed) {
  std::mt19937_64 random(seed * 31 + thread);
  for (uint64_t version = seed * 1000000 + 1;; version += 10) {
    std::vector<TestObject> objects;
    std::vector<DiskTier::Item> items;
    std::vector<uint64_t> keys;
    for (uint64_t i = 0; i < 1 + random() % 3; ++i) {
      const uint64_t key = (random() % (kKillKeys / 6) * 3 + i) * kKillThreads +
                           thread;  // different ones in a batch
      keys.push_back(key);
      objects.push_back(KillObject(key, version));
    }
    if (random() % 4 == 0) {
      Say('>', keys[0], 0);
      if (!tier.Delete({objects[0].key()}).ok()) _exit(3);
      Say('=', keys[0], 0);
      continue;
    }
    for (const TestObject& object : objects) items.push_back(object.Item());
    for (uint64_t key : keys) Say('>', key, version);
    for (const absl::Status& status : tier.Write(items)) {
      if (!status.ok()) {
        std::fprintf(stderr, "%s\n", status.ToString().c_str());
        _exit(4);
      }
    }
    for (uint64_t key : keys) Say('=', key, version);
  }
}

}  // namespace
}  // namespace cistern::storage

int main(int argc, char** argv) {
  using namespace cistern::storage;  // NOLINT(google-build-using-namespace)
  if (argc != 3) return 1;
  RocksTierOptions options{.disk = {.path = argv[1]}};
  options.log.file_bytes = 16 << 20;  // files come and go all the time
  auto tier = RocksTier::Open(options);
  if (!tier.ok()) {
    std::fprintf(stderr, "%s\n", tier.status().ToString().c_str());
    return 5;
  }
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kKillThreads; ++i) {
    threads.emplace_back([&, i] { Run(**tier, i, std::strtoull(argv[2], nullptr, 10)); });
  }
  for (std::thread& thread : threads) thread.join();
}
