// Random calls against a disk tier and against a plain map, on a disk that fails now and then,
// under a process that is killed and a machine that loses its power.
//
// What the map allows: a key has the version that was acknowledged last. A change that failed is
// not there while the process lives; after the next start it may be, unless its key has been
// changed since. --seed=N repeats the calls of a run, CISTERN_STEPS makes it longer.
#include <atomic>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "tests/fault/disk_weather.h"
#include "tests/model/seed.h"

namespace cistern::storage {
namespace {

using Call = PayloadFaults::Call;
using How = LogFaults::How;

constexpr uint64_t kKeys = 20;
constexpr uint64_t kSteps = 600;

// Mostly small, sometimes of several pieces.
TestObject RandomObject(uint64_t key, uint64_t version) {
  TestObject object = Segment(key + 1, 1);
  const uint64_t bytes = version % 13 == 0 ? (version * 7919) % (5 << 20) : version * 7919 % 60000;
  object.bytes = PatternBytes(key * 1000003 + version, 1 + bytes);
  object.header.base_position = static_cast<uint32_t>(version);
  return object;
}

class DiskWorld {
 public:
  explicit DiskWorld(uint64_t seed) : random_(seed) {
    options_.log.file_bytes = 3 << 20;
    options_.log.step_bytes = 256 << 10;
    options_.log.calls = &payload_;
    options_.env = env_.get();
    MoveTo();
    Open();
    if (tier_->Stats().loading) Load();
  }
  ~DiskWorld() {
    Clear();
    tier_.reset();
  }

  void Step() {
    if (random_() % 4 == 0) MakeTrouble();
    switch (random_() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        Write();
        break;
      case 5:
      case 6:
        Delete();
        break;
      case 7:
        (void)tier_->Reclaim();
        break;
      case 8:
        CheckScan();
        break;
      case 9:
        if (random_() % 4 == 0) Reopen();
        break;
      default:
        Read(random_() % kKeys);
    }
    Clear();
  }

  // Without trouble: all is as the map says, and nothing takes room that nobody owns.
  void Settle() {
    Clear();
    const TestObject object = Next(0);
    Change([&] { return WriteOne(*tier_, object); }, {{0, version_}}, /*must=*/true);
    uint64_t live_bytes = 0;
    for (uint64_t key = 0; key < kKeys; ++key) {
      Read(key);
      if (live_[key] != 0)
        live_bytes += Extent::RoomFor(RandomObject(key, live_[key]).bytes.size());
    }
    do {
      ASSERT_EQ(tier_->Reclaim(), absl::OkStatus());
    } while (tier_->Stats().file_bytes > live_bytes &&
             !::testing::Test::HasFailure());  // the test's time limit bounds this
    EXPECT_EQ(tier_->Stats().file_bytes, live_bytes);
    EXPECT_EQ(tier_->Stats().checksum_failures, 0u);
  }

  struct Counts {
    uint64_t written, write_errors, deleted, delete_errors, read, read_errors, kills, power_cuts,
        restarts, failed_starts, late_loads, came_back;
  };
  const Counts& counts() const { return counts_; }

 private:
  // Some versions, by key; 0: no record.
  using Versions = std::map<uint64_t, uint64_t>;

  void MoveTo() {
    options_.disk.path = directory_.path() + "/life" + std::to_string(++life_);
    payload_.Forget();
  }
  void Clear() {
    payload_.Clear();
    log_->Clear();
  }
  void MakeTrouble() {
    const int error = random_() % 3 == 0 ? ENOSPC : EIO;
    switch (random_() % 3) {
      case 0:
        log_->FailNext(static_cast<How>(1 + random_() % 4), error == ENOSPC);
        if (random_() % 3 == 0) log_->RefuseTables(true);
        break;
      default:
        payload_.FailNext(static_cast<Call>(1 + random_() % 8), error,
                          static_cast<int>(random_() % 3), 1 + static_cast<int>(random_() % 2));
    }
  }
  static bool IsTrouble(const absl::Status& status) {
    return absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
  }

  TestObject Next(uint64_t key) { return RandomObject(key, ++version_); }

  template <typename Work>
  void Change(Work work, const Versions& to, bool must = false) {
    const absl::Status status = work();
    if (status.ok()) {
      for (const auto& [key, version] : to) {
        live_[key] = version;
        maybe_[key].clear();
      }
      return;
    }
    EXPECT_TRUE(IsTrouble(status) && !must) << status;
    for (const auto& [key, version] : to) maybe_[key].insert(version);
  }
  void Write() {
    std::vector<TestObject> objects;
    std::vector<DiskTier::Item> items;
    Versions to;
    for (uint64_t i = 0; i < 1 + random_() % 3; ++i) {
      const uint64_t key = random_() % kKeys;
      objects.push_back(Next(key));
      to[key] = version_;
    }
    items.reserve(objects.size());
    for (const TestObject& object : objects) items.push_back(object.Item());
    Change(
        [&] {
          const std::vector<absl::Status> statuses = tier_->Write(items);
          for (const absl::Status& status : statuses) EXPECT_EQ(status, statuses[0]);
          ++(statuses[0].ok() ? counts_.written : counts_.write_errors);
          return statuses[0];
        },
        to);
  }
  void Delete() {
    std::vector<RecordKey> keys;
    Versions to;
    for (uint64_t i = 0; i < 1 + random_() % 3; ++i) {
      const uint64_t key = random_() % kKeys;
      keys.push_back(RandomObject(key, 1).key());
      to[key] = 0;
    }
    absl::Status status = tier_->Delete(keys);
    ++(status.ok() ? counts_.deleted : counts_.delete_errors);
    if (status.ok()) return Change([&] { return status; }, to);
    EXPECT_TRUE(IsTrouble(status)) << status;
    Clear();
    for (const auto& [key, version] : to) {  // gone for now, or not
      const bool gone = absl::IsNotFound(tier_->Verify(RandomObject(key, 1).key()));
      maybe_[key].insert(gone ? live_[key] : 0);
      if (gone) live_[key] = 0;
    }
  }
  void Read(uint64_t key) {
    const TestObject object = RandomObject(key, std::max<uint64_t>(live_[key], 1));
    const absl::Status status = CheckReadBack(*tier_, object);
    if (IsTrouble(status)) {
      ++counts_.read_errors;
      return;
    }
    ++counts_.read;
    EXPECT_EQ(status.code(), live_[key] == 0 ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << "key " << key << ", version " << live_[key] << ": " << status;
  }
  Versions Scan() {
    Versions found;
    EXPECT_EQ(tier_->ForEachRecord([&](const base::ObjectHeader& header) {
      for (uint64_t key = 0; key < kKeys; ++key) {
        if (header.content == RandomObject(key, 1).header.content)
          found[key] = header.base_position;
      }
    }),
              absl::OkStatus());
    return found;
  }
  void CheckScan() {
    Versions found = Scan();
    for (uint64_t key = 0; key < kKeys; ++key) EXPECT_EQ(found[key], live_[key]) << "key " << key;
  }

  // A clean end, a kill or a power cut; then perhaps a start that fails, and one that must not.
  void Reopen() {
    const std::string from = options_.disk.path;
    const int how = static_cast<int>(random_() % 3);
    if (how != 0) {
      MoveTo();
      if (how == 1) {
        CopyAsOfKill(*tier_, from, options_.disk.path);
        ++counts_.kills;
      } else {
        CopyAsOfPowerCut(*tier_, from, options_.disk.path, payload_, *log_);
        ++counts_.power_cuts;
      }
    }
    tier_.reset();
    payload_.Forget();
    if (how != 0) std::filesystem::remove_all(from);
    Open();
    if (tier_->Stats().loading && !Load()) return;  // it has died once more
    TakeStock();
  }
  // While headers are still to be read, and under whatever trouble there is: changes, perhaps
  // another end. What has not been read is a miss, so nothing is read here.
  bool Load() {
    for (uint64_t i = 0; i < random_() % 4; ++i) {
      if (random_() % 3 == 0) MakeTrouble();
      random_() % 3 == 0 ? Delete() : Write();
      Clear();
    }
    if (random_() % 4 == 0) {
      Reopen();
      return false;
    }
    if (random_() % 3 == 0) MakeTrouble();
    const std::atomic<bool> stop{false};
    std::set<base::Key> given;
    const auto load = [&] {
      return tier_->Load(stop, [&](const std::vector<base::ObjectHeader>& headers) {
        for (const base::ObjectHeader& header : headers)
          EXPECT_TRUE(given.insert(header.content).second) << "given twice";
      });
    };
    absl::Status loaded = load();
    if (!loaded.ok()) {
      EXPECT_TRUE(IsTrouble(loaded)) << loaded;
      Clear();
      loaded = load();
    }
    EXPECT_EQ(loaded, absl::OkStatus());
    Clear();
    ++counts_.late_loads;
    return true;
  }
  void Open() {
    options_.disk.load_later = random_() % 2 == 0;
    auto tier = RocksTier::Open(options_);  // under whatever trouble there still is
    if (!tier.ok()) {
      EXPECT_TRUE(IsTrouble(tier.status())) << tier.status();
      ++counts_.failed_starts;
      Clear();
      tier = RocksTier::Open(options_);
    }
    ASSERT_TRUE(tier.ok()) << tier.status();
    ++counts_.restarts;
    Clear();
    tier_ = *std::move(tier);
  }
  // What a start has found is what there is from now on.
  void TakeStock() {
    Versions found = Scan();
    uint64_t in_doubt = 0;
    for (uint64_t key = 0; key < kKeys; ++key) {
      if (found[key] != live_[key]) {
        EXPECT_TRUE(maybe_[key].contains(found[key]))
            << "key " << key << " has version " << found[key] << ", acknowledged was "
            << live_[key];
        ++counts_.came_back;
      }
      in_doubt += maybe_[key].size();
      live_[key] = found[key];
      maybe_[key].clear();
    }
    EXPECT_LE(tier_->Stats().dropped_headers, in_doubt);
    for (uint64_t key = 0; key < kKeys; ++key) Read(key);
  }

  std::mt19937_64 random_;
  ScratchDirectory directory_;
  int life_ = 0;
  PayloadFaults payload_;
  std::shared_ptr<LogFaults> log_ = std::make_shared<LogFaults>();
  std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(log_);
  RocksTierOptions options_;
  std::unique_ptr<RocksTier> tier_;

  uint64_t version_ = 0;
  Versions live_;
  std::map<uint64_t, std::set<uint64_t>> maybe_;  // failed, and a start might find them
  Counts counts_{};
};

TEST(DiskRandom, AgreesWithAMapWhateverTheDiskDoes) {
  const uint64_t seed = model_test::GivenSeed().value_or(12);
  SCOPED_TRACE("repeat with --seed=" + std::to_string(seed));
  const uint64_t steps = model_test::StepsOr(kSteps);
  DiskWorld world(seed);
  for (uint64_t step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
    SCOPED_TRACE(step);
    world.Step();
    if (step % 100 == 99) world.Settle();
  }
  const DiskWorld::Counts& counts = world.counts();
  std::cout << "seed " << seed << ": writes " << counts.written << " and " << counts.write_errors
            << " failed, deletes " << counts.deleted << " and " << counts.delete_errors
            << " failed, reads " << counts.read << " and " << counts.read_errors << " failed, "
            << counts.restarts << " starts (" << counts.failed_starts << " failed, "
            << counts.late_loads << " loaded later) after " << counts.kills << " kills and "
            << counts.power_cuts << " power cuts; " << counts.came_back
            << " failed changes came back\n";
  if (steps < kSteps) return;
  // The dice must have reached what the test is about.
  EXPECT_GT(counts.written, steps / 10);
  EXPECT_GT(counts.write_errors + counts.delete_errors, 0u);
  if (steps < 5 * kSteps) return;  // too few to be sure
  EXPECT_GT(counts.late_loads, 0u);
  EXPECT_GT(counts.kills, 0u);
  EXPECT_GT(counts.power_cuts, 0u);
}

}  // namespace
}  // namespace cistern::storage
