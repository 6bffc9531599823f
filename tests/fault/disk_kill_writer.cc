// The process that disk_kill_test kills: writes, replaces, reads and deletes objects and gives room
// back for ever, and says what it changes before and after.
//
//   disk_kill_writer DIRECTORY LIFE SEED
//   "! 0 0\n" once the tier is open
//   "> KEY VERSION\n" before an object gets VERSION (0: is deleted), "= KEY VERSION\n" once that is
//   acknowledged
//
// Each of its threads owns some keys, so that the lines of one key are in order.
#include <cstdio>
#include <cstdlib>
#include <map>
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

// An error is an end that the test does not expect.
void Must(const absl::Status& status, int code) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  _exit(code);
}

class Worker {
 public:
  Worker(DiskTier* tier, uint64_t thread, uint64_t life, uint64_t seed)
      : tier_(tier),
        thread_(thread),
        random_((seed * 1000 + life) * 31 + thread),
        version_(life * 1000000 + 1) {}

  void Run() {
    for (;; version_ += 10) {
      switch (random_() % 8) {
        case 0:
        case 1:
          Delete();
          break;
        case 2:
        case 3:
          Read();
          break;
        case 4:
          Must(tier_->Reclaim(), 7);
          break;
        default:
          Write();
      }
    }
  }

 private:
  std::vector<uint64_t> SomeKeys() {  // different ones
    std::vector<uint64_t> keys;
    const uint64_t count = 1 + random_() % 3;
    for (uint64_t i = 0; i < count; ++i)
      keys.push_back((random_() % (kKillKeys / 6) * 3 + i) * kKillThreads + thread_);
    return keys;
  }
  void Write() {
    const std::vector<uint64_t> keys = SomeKeys();
    std::vector<TestObject> objects;
    std::vector<DiskTier::Item> items;
    for (uint64_t key : keys) objects.push_back(KillObject(key, version_));
    for (const TestObject& object : objects) items.push_back(object.Item());
    for (uint64_t key : keys) Say('>', key, version_);
    for (const absl::Status& status : tier_->Write(items)) Must(status, 4);
    for (uint64_t key : keys) {
      Say('=', key, version_);
      known_[key] = version_;
    }
  }
  void Delete() {
    const std::vector<uint64_t> keys = SomeKeys();
    std::vector<RecordKey> names;
    for (uint64_t key : keys) {
      names.push_back(KillObject(key, 1).key());
      Say('>', key, 0);
    }
    Must(tier_->Delete(names), 3);
    for (uint64_t key : keys) {
      Say('=', key, 0);
      known_[key] = 0;
    }
  }
  void Read() {
    for (const uint64_t key : SomeKeys()) {
      const auto known = known_.find(key);
      if (known == known_.end()) continue;  // of an earlier life
      const absl::Status read = CheckReadBack(*tier_, KillObject(key, known->second));
      if (known->second != 0 || !absl::IsNotFound(read)) Must(read, 6);
    }
  }

  DiskTier* const tier_;
  const uint64_t thread_;
  std::mt19937_64 random_;
  uint64_t version_;
  std::map<uint64_t, uint64_t> known_;  // what this life has acknowledged
};

}  // namespace
}  // namespace cistern::storage

int main(int argc, char** argv) {
  using namespace cistern::storage;  // NOLINT(google-build-using-namespace)
  if (argc != 4) return 1;
  const uint64_t life = std::strtoull(argv[2], nullptr, 10);
  const uint64_t seed = std::strtoull(argv[3], nullptr, 10);
  RocksTierOptions options{.disk = {.path = argv[1]}};
  options.log.file_bytes = 16 << 20;  // files come and go all the time
  options.log.step_bytes = 4 << 20;
  auto tier = RocksTier::Open(options);
  Must(tier.status(), 5);
  Say('!', 0, 0);
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < kKillThreads; ++i)
    threads.emplace_back([&, i] { Worker(tier->get(), i, life, seed).Run(); });
  for (std::thread& thread : threads) thread.join();
}
