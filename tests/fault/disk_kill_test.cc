// SIGKILL in the middle of writes, replacements, deletions and rewriting: everything acknowledged
// is there and verifies, nothing half-written is visible.
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <set>
#include <string>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "tests/fault/disk_kill_object.h"

namespace cistern::storage {
namespace {

// What may be on disk for one key: the last acknowledged version, or any that was begun after it.
struct Expected {
  uint64_t acknowledged = 0;  // 0: none
  std::set<uint64_t> begun;
};

class Writer {
 public:
  Writer(const std::string& directory, uint64_t seed) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const std::string text = std::to_string(seed);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execl(DISK_KILL_WRITER, DISK_KILL_WRITER, directory.c_str(), text.c_str(), nullptr);
      _exit(9);
    }
    close(ends[1]);
    lines_ = fdopen(ends[0], "r");
  }

  // Takes in one line; false when the process is gone and has nothing more to say.
  bool Next(std::map<uint64_t, Expected>* expected) {
    char sign = 0;
    unsigned long long key = 0, version = 0;
    if (std::fscanf(lines_, " %c %llu %llu", &sign, &key, &version) != 3) return false;
    Expected& entry = (*expected)[key];
    if (sign == '>') {
      entry.begun.insert(version);
    } else {
      entry.acknowledged = version;
      entry.begun.clear();
    }
    return true;
  }

  // Reads what it had said before it died.
  void Kill(std::map<uint64_t, Expected>* expected) {
    kill(pid_, SIGKILL);
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << status;
    while (Next(expected)) {
    }
    std::fclose(lines_);
  }

 private:
  pid_t pid_ = -1;
  std::FILE* lines_ = nullptr;
};

void CheckAfterKill(RocksTier& tier, std::map<uint64_t, Expected>* expected) {
  std::map<base::Key, uint64_t> versions;
  ASSERT_EQ(tier.ForEachRecord([&](base::ObjectHeader header) {
    versions[header.content] = header.base_position;
  }),
            absl::OkStatus());
  EXPECT_EQ(tier.Stats().dropped_headers, 0u);
  for (uint64_t key = 0; key < kKillKeys; ++key) {
    const auto found = versions.find(KillObject(key, 1).header.content);
    const uint64_t version = found == versions.end() ? 0 : found->second;
    Expected& entry = (*expected)[key];
    EXPECT_TRUE(version == entry.acknowledged || entry.begun.contains(version))
        << "key " << key << " has version " << version << ", acknowledged was "
        << entry.acknowledged;
    const absl::Status read = CheckReadBack(tier, KillObject(key, version));
    EXPECT_EQ(read.code(), version == 0 ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << read;
    entry = {.acknowledged = version, .begun = {}};
  }
}

TEST(DiskKill, WhatWasAcknowledgedSurvives) {
  ScratchDirectory directory;
  std::mt19937_64 random(20260101);
  std::map<uint64_t, Expected> expected;
  uint64_t records = 0;
  for (uint64_t round = 1; round <= 8; ++round) {
    SCOPED_TRACE(round);
    Writer writer(directory.path() + "/tier", round);
    const uint64_t lines =
        1 + random() % 80;  // the kill comes anywhere in what follows the last of them
    for (uint64_t i = 0; i < lines; ++i) ASSERT_TRUE(writer.Next(&expected)) << "the writer failed";
    writer.Kill(&expected);

    auto tier = RocksTier::Open({.disk = {.path = directory.path() + "/tier"}});
    ASSERT_TRUE(tier.ok()) << tier.status();
    CheckAfterKill(**tier, &expected);
    records = (*tier)->Stats().records;
  }
  EXPECT_GT(records, 0u);  // otherwise nothing was tested
}

}  // namespace
}  // namespace cistern::storage
