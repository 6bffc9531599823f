// SIGKILL at random moments of a life: while the tier opens, writes, replaces, reads, deletes and
// gives room back. Everything acknowledged is there and verifies, nothing half-written is visible,
// and no room is lost.
//
// CISTERN_DISK_KILL_ROUNDS, or 16; --seed=N repeats the choices, if not the moments.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gtest/gtest.h"

#include "tests/fault/disk_kill_object.h"
#include "tests/model/seed.h"

namespace cistern::storage {
namespace {

using Clock = std::chrono::steady_clock;

// What may be on disk for one key: the last acknowledged version, or any that was begun after it.
struct Expected {
  uint64_t acknowledged = 0;  // 0: none
  std::set<uint64_t> begun;
};
using Expectations = std::map<uint64_t, Expected>;

class Writer {
 public:
  Writer(const std::string& directory, uint64_t life, uint64_t seed, Expectations* expected)
      : expected_(expected) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const std::string life_text = std::to_string(life), seed_text = std::to_string(seed);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      execl(DISK_KILL_WRITER, DISK_KILL_WRITER, directory.c_str(), life_text.c_str(),
            seed_text.c_str(), nullptr);
      _exit(9);
    }
    close(ends[1]);
    from_ = ends[0];
  }

  // Listens until `moment`, then kills, and takes in what had been said before.
  void KillAt(Clock::time_point moment) {
    while (Clock::now() < moment) {
      const auto rest =
          std::chrono::duration_cast<std::chrono::microseconds>(moment - Clock::now());
      const timespec wait{.tv_sec = 0, .tv_nsec = std::max<int64_t>(rest.count(), 0) * 1000};
      pollfd pipe{.fd = from_, .events = POLLIN, .revents = 0};
      if (ppoll(&pipe, 1, &wait, nullptr) > 0 && !Listen()) break;  // it ended: seen below
    }
    kill(pid_, SIGKILL);
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
    while (Listen()) {
    }
    close(from_);
  }

  std::optional<Clock::time_point> opened() const { return opened_; }
  uint64_t acknowledged() const { return acknowledged_; }

 private:
  bool Listen() {
    char bytes[4096];
    const ssize_t got = read(from_, bytes, sizeof(bytes));
    if (got <= 0) return false;
    text_.append(bytes, static_cast<size_t>(got));
    size_t begin = 0;
    for (size_t end = 0; (end = text_.find('\n', begin)) != std::string::npos; begin = end + 1)
      TakeIn(text_.substr(begin, end - begin));
    text_.erase(0, begin);
    return true;
  }
  void TakeIn(const std::string& line) {
    char sign = 0;
    unsigned long long key = 0, version = 0;
    ASSERT_EQ(std::sscanf(line.c_str(), "%c %llu %llu", &sign, &key, &version), 3) << line;
    if (sign == '!') {
      opened_ = Clock::now();
      return;
    }
    Expected& entry = (*expected_)[key];
    if (sign == '>') {
      entry.begun.insert(version);
    } else {
      entry = {.acknowledged = version, .begun = {}};
      ++acknowledged_;
    }
  }

  Expectations* const expected_;
  pid_t pid_ = -1;
  int from_ = -1;
  std::string text_;
  std::optional<Clock::time_point> opened_;
  uint64_t acknowledged_ = 0;
};

void CheckAfterKill(RocksTier& tier, Expectations* expected) {
  std::map<base::Key, uint64_t> versions;
  uint64_t live_bytes = 0;
  ASSERT_EQ(tier.ForEachRecord([&](const base::ObjectHeader& header) {
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
    const TestObject object = KillObject(key, version);
    const absl::Status read = CheckReadBack(tier, object);
    EXPECT_EQ(read.code(), version == 0 ? absl::StatusCode::kNotFound : absl::StatusCode::kOk)
        << read;
    if (version != 0) live_bytes += Extent::RoomFor(object.bytes.size());
    entry = {.acknowledged = version, .begun = {}};
  }
  ASSERT_EQ(tier.Reclaim(), absl::OkStatus());
  EXPECT_EQ(tier.Stats().file_bytes, live_bytes) << "room that belongs to nobody";
}

uint64_t Rounds() {
  const char* given = std::getenv("CISTERN_DISK_KILL_ROUNDS");  // NOLINT(concurrency-mt-unsafe)
  return given == nullptr ? 16 : std::strtoull(given, nullptr, 10);
}

TEST(DiskKill, WhatWasAcknowledgedSurvives) {
  const uint64_t seed = model_test::GivenSeed().value_or(11);
  SCOPED_TRACE("repeat with --seed=" + std::to_string(seed));
  ScratchDirectory directory;
  const std::string path = directory.path() + "/tier";
  std::mt19937_64 random(seed);
  Expectations expected;
  const uint64_t rounds = Rounds();
  uint64_t checks = 0, records = 0, while_opening = 0, in_doubt = 0, acknowledged = 0;
  std::chrono::microseconds opening{50000};  // how long it took the last time
  for (uint64_t round = 1; round <= rounds && !::testing::Test::HasFailure(); ++round) {
    SCOPED_TRACE(round);
    const auto begin = Clock::now();
    Writer writer(path, round, seed, &expected);
    // Every fourth dies on its way in, the others anywhere in half a second.
    const uint64_t range_us = round % 4 == 0 ? static_cast<uint64_t>(opening.count()) : 500000;
    writer.KillAt(begin + std::chrono::microseconds(random() % range_us));
    if (writer.opened())
      opening = std::chrono::duration_cast<std::chrono::microseconds>(*writer.opened() - begin);
    else
      ++while_opening;
    acknowledged += writer.acknowledged();
    for (const auto& [key, entry] : expected) in_doubt += !entry.begun.empty();
    if (random() % 3 == 0 && round < rounds) continue;  // the next life finds what this one left

    auto tier = RocksTier::Open({.disk = {.path = path}});
    ASSERT_TRUE(tier.ok()) << tier.status();
    CheckAfterKill(**tier, &expected);
    records += (*tier)->Stats().records;
    ++checks;
  }
  std::cout << "seed " << seed << ": " << rounds << " kills, " << while_opening
            << " of them while opening; " << acknowledged << " changes acknowledged, " << in_doubt
            << " cut; " << checks << " checks found " << records << " records\n";
  if (rounds < 16) return;
  // The dice must have reached what the test is about.
  EXPECT_GT(while_opening, 0u);
  EXPECT_GT(in_doubt, 0u);
  EXPECT_GT(acknowledged, rounds);
  EXPECT_GT(records, 0u);
}

}  // namespace
}  // namespace cistern::storage
