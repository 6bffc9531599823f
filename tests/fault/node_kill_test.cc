// SIGKILL for a whole server at random moments of a life full of publishing, flushing, evicting and
// reading from disk, in memory so small that demotion, staging, commits and hole punching never
// rest; half of the lives with a device's memory above the host's, some with a disk tier at its
// bound, which drops what it likes. Afterwards the same directory serves everything that a flush
// had acknowledged, byte for byte, and nothing that is wrong.
//
// CISTERN_NODE_KILL_ROUNDS, or 6; --seed=N repeats the choices, if not the moments.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <random>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "tests/fault/node_kill_book.h"
#include "tests/integration/node_under_test.h"
#include "tests/model/seed.h"
#include "transport/checksum.h"

namespace cistern::cacheserver {
namespace {

using transport::AdminVerb;
using transport::LeaseOutcome;
using transport::ReserveOutcome;

// Each writes the texts that are its own and reads all of them.
constexpr uint32_t kWorkers = 4;

// Of all rounds.
struct Tally {
  std::atomic<uint64_t> published{0}, replaced{0}, read{0}, from_disk{0}, flushes{0};
  std::atomic<uint64_t> acknowledged{0};  // by a flush
  uint64_t kills = 0, while_opening = 0, demoted = 0, deletes = 0, punched_bytes = 0;
  uint64_t in_doubt = 0, promised = 0, found = 0;  // objects, summed over all restarts
};

// What the hands of one life share.
struct Life {
  Book* book = nullptr;
  Tally* tally = nullptr;
  uint32_t flushes = 0;             // of 1000 steps
  bool bounded = false;             // the disk tier may drop any object
  std::atomic<bool> killed{false};  // set before the signal: errors are expected from here on
  std::shared_mutex gate;           // held alone by a flush that nobody should disturb
};

// A worker, and what it does all day.
class Hand {
 public:
  Hand(const std::string& address, Life* life, uint32_t number, uint64_t seed)
      : life_(life), number_(number), random_(seed + number), worker_(address, number % 2 == 0) {
    auto buffer = worker_.link().Allocate(kMaxTokens * TestModel().token_bytes());
    EXPECT_TRUE(buffer.ok()) << buffer.status();
    if (buffer.ok()) buffer_ = *std::move(buffer);
  }

  void Work() {
    while (worker_.link().alive() && !testing::Test::HasFailure()) {
      const uint32_t what = random_() % 1000, any = random_() % kTexts;
      const uint32_t own = any / kWorkers * kWorkers + number_;
      if (what < life_->flushes) {
        Flush();
      } else if (what < 500) {
        Read(any);
      } else {
        const std::shared_lock<std::shared_mutex> pass(life_->gate);
        if (what < 700 && life_->book->Get(own).committed != 0) Evict(own);
        if (what >= 600) Publish(own);
      }
    }
  }

  // The version that is served of a text, after every byte of it was compared; 0: there is none,
  // or no room to read it now.
  uint32_t Read(uint32_t text) {
    const Entry before = life_->book->Get(text);
    const base::ObjectHeader asked = TextVersion(text, 0);
    transport::FindRequest find{.model = asked.model, .lease = false, .neighbours = false};
    find.items = {{asked.content, asked.context, false}};
    const auto found = worker_.Call<transport::FindReply>(find);
    if (!Fine(found.status(), "find")) return 0;
    if (found->objects.empty()) return Missed(text, before, "not found");
    const uint32_t version = found->objects[0].header.base_position;
    const Entry after = life_->book->Get(text);
    EXPECT_LE(version, after.begun) << text;
    EXPECT_EQ(found->objects[0].header, TextVersion(text, version)) << text;
    const bool known = before.committed != 0 && before.changes == after.changes;
    EXPECT_TRUE(!known || version == before.committed)
        << "text " << text << " has version " << version << " instead of " << before.committed;

    const auto leased =
        worker_.Call<transport::LeaseReply>(transport::LeaseRequest{{found->objects[0].id}});
    if (!Fine(leased.status(), "lease")) return 0;
    const transport::LeaseResult& lease = leased->results.at(0);
    if (lease.outcome == LeaseOutcome::kNoRoom) return 0;
    if (lease.outcome == LeaseOutcome::kGone) return Missed(text, before, "gone when leased");
    if (!Compare(lease, TextVersion(text, version))) return 0;
    ++life_->tally->read;
    life_->tally->from_disk += lease.from_disk ? 1 : 0;
    Fine(worker_.Call<transport::ReleaseReply>(transport::ReleaseRequest{{lease.lease}}).status(),
         "release");
    return version;
  }

  nlohmann::json Ask(const transport::AdminRequest& request,
                     absl::Duration deadline = absl::Seconds(30)) {
    const auto reply = worker_.Call<transport::AdminReply>(request, {.deadline = deadline});
    if (absl::IsDeadlineExceeded(reply.status()) || !Fine(reply.status(), "admin")) return nullptr;
    return nlohmann::json::parse(reply->json, nullptr, /*allow_exceptions=*/false);
  }

 private:
  bool Fine(const absl::Status& status, const char* what) {
    if (!status.ok() && !life_->killed) ADD_FAILURE() << what << ": " << status;
    return status.ok();
  }

  uint32_t Missed(uint32_t text, const Entry& before, const char* how) {
    const bool known = before.committed != 0 && life_->book->Get(text).changes == before.changes;
    EXPECT_TRUE(!known || life_->bounded)
        << "text " << text << ", version " << before.committed << ": " << how;
    return 0;
  }

  bool Compare(const transport::LeaseResult& lease, const base::ObjectHeader& header) {
    const std::vector<std::byte> rows = RowsOf(header);
    if (worker_.link().arena() == nullptr) {
      const transport::ReadRequest read{{lease.lease}, 0, TestModel().num_layers};
      const auto into = buffer_->bytes().first(rows.size());
      if (!Fine(worker_.Call<transport::ReadReply>(read, {.receive = {into}}).status(), "read"))
        return false;
      EXPECT_EQ(std::memcmp(into.data(), rows.data(), rows.size()), 0) << header.base_position;
      return true;
    }
    const std::byte* arena = worker_.link().arena();
    const uint64_t row_bytes = TestModel().row_bytes;
    for (uint64_t row = 0; row * row_bytes < rows.size(); ++row) {
      const uint64_t layer = row / header.num_tokens(), token = row % header.num_tokens();
      const base::BlockRef& block = lease.blocks.at(token / 16);
      const std::byte* at = arena + block.offset + (layer * 16 + token % 16) * row_bytes;
      const bool same = std::memcmp(at, rows.data() + row * row_bytes, row_bytes) == 0;
      EXPECT_EQ(base::ReadGeneration(arena, block.handle), block.generation);
      EXPECT_TRUE(same) << "version " << header.base_position << ", layer " << layer << ", token "
                        << token;
      if (!same) return false;
    }
    return true;
  }

  void Publish(uint32_t text) {
    const Entry before = life_->book->Get(text);
    const base::ObjectHeader header = TextVersion(text, before.begun + 1);
    const auto reserved = worker_.Reserve(header);
    if (!Fine(reserved.status(), "reserve")) return;
    EXPECT_NE(reserved->outcome, ReserveOutcome::kTooLarge);
    if (reserved->outcome != ReserveOutcome::kReserved) return;
    Missed(text, before, "free to be written");
    life_->book->Reserved(text);
    const std::vector<std::byte> rows = RowsOf(header);
    std::memcpy(buffer_->bytes().data(), rows.data(), rows.size());
    const std::vector<transport::Slice> payload = {buffer_->bytes().first(rows.size())};
    const transport::ReservationId id = reserved->reservation;
    const transport::WriteRequest write{
        {id}, 0, TestModel().num_layers, transport::PayloadChecksum(payload)};
    if (!Fine(worker_.Call<transport::WriteReply>(write, {.send = payload}).status(), "write"))
      return;
    if (random_() % 16 == 0) {  // never to be seen
      Fine(worker_.Call<transport::AbortReply>(transport::AbortRequest{{id}}).status(), "abort");
      return;
    }
    life_->book->Committing(text);
    const auto committed = worker_.Call<transport::CommitReply>(transport::CommitRequest{{id}});
    if (!Fine(committed.status(), "commit")) return;
    life_->book->Committed(text);
    ++life_->tally->published;
    life_->tally->replaced += before.begun > 0 ? 1 : 0;
  }

  void Evict(uint32_t text) {
    life_->book->Evicting(text);
    Ask({.verb = AdminVerb::kEvict, .key = TextVersion(text, 0).content});
  }

  // Others go on publishing, which a flush may follow for as long as it is let; or they wait.
  void Flush() {
    std::unique_lock<std::shared_mutex> alone(life_->gate, std::defer_lock);
    const bool quiet = random_() % 2 == 0;
    if (quiet) alone.lock();
    const std::vector<Entry> before = life_->book->All();
    const auto report =
        Ask({.verb = AdminVerb::kFlush}, quiet ? absl::Seconds(30) : absl::Milliseconds(500));
    if (!report.is_object() || report.at("dirty_bytes_left") != 0) return;
    life_->tally->acknowledged += life_->book->Flushed(before);
    ++life_->tally->flushes;
  }

  Life* const life_;
  const uint32_t number_;
  std::mt19937_64 random_;
  Worker worker_;
  std::unique_ptr<transport::Buffer> buffer_;
};

// Bytes that the payload files have given back to the file system.
uint64_t HoleBytes(const std::string& directory) {
  uint64_t holes = 0;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    struct stat about {};
    if (file.path().filename().string().rfind("payload-", 0) != 0 ||
        stat(file.path().c_str(), &about) != 0)
      continue;
    const auto size = static_cast<uint64_t>(about.st_size);
    holes += size - std::min(size, static_cast<uint64_t>(about.st_blocks) * 512);
  }
  return holes;
}

class NodeKillTest : public testing::Test {
 protected:
  static bool Bounded(uint64_t round) { return round % 5 == 4; }

  static std::vector<std::string> Flags(uint64_t round) {
    std::vector<std::string> flags = {"--disk_path=SCRATCHdisk", "--pool_bytes=4MiB",
                                      "--demote_batch_bytes=1MiB"};
    if (round % 2 == 1) flags.emplace_back("--device_bytes=2MiB");
    if (Bounded(round)) flags.emplace_back("--disk_max_bytes=12MiB");
    return flags;
  }

  // Starts it on what the last kill has left; every third time one dies on its way in before.
  void Open(uint64_t round) {
    if (round % 3 == 0) {
      std::vector<std::string> arguments = {CISTERN_SERVER, "--nopre_touch",
                                            "--unix_socket=" + node_.socket()};
      for (std::string flag : Flags(round)) {
        if (const size_t at = flag.find("SCRATCH"); at != std::string::npos)
          flag.replace(at, 7, node_.Path(""));
        arguments.push_back(flag);
      }
      Process opening(arguments, node_.Path("opening"));
      absl::SleepFor(Below(opening_));
      opening.Signal(SIGKILL);
      EXPECT_EQ(opening.Wait().signal, SIGKILL) << opening.Err();
      ++tally_.while_opening;
    }
    const absl::Time begin = absl::Now();
    node_.Restart(Flags(round));
    opening_ = absl::Now() - begin;
  }

  void Check(uint64_t round) {
    Life life{.book = &book_, .tally = &tally_};
    Hand hand(node_.unix_address(), &life, round % kWorkers, random_());
    uint64_t found = 0;
    for (uint32_t text = 0; text < kTexts; ++text) {
      const Entry entry = book_.Get(text);
      tally_.in_doubt += entry.possible.size() > 1 ? 1 : 0;
      tally_.promised += entry.acknowledged ? 1 : 0;
      book_.FoundAfterKill(text, 0);  // nothing must be, for the reading below
      const uint32_t version = hand.Read(text);
      EXPECT_TRUE(entry.possible.contains(version))
          << "text " << text << " has version " << version << "; "
          << (entry.acknowledged ? "acknowledged was " : "of any in doubt, the first is ")
          << *entry.possible.begin();
      found += version == 0 ? 0 : 1;
      book_.FoundAfterKill(text, version);
    }
    tally_.found += found;
    const auto verified = hand.Ask({.verb = AdminVerb::kVerify, .all = true});
    EXPECT_EQ(verified.at("invariants"), "ok");
    EXPECT_TRUE(verified.at("wrong").empty()) << verified;
    const auto status = hand.Ask({.verb = AdminVerb::kStatus});
    EXPECT_EQ(status.at("totals").at("corrupt_records"), 0);
    EXPECT_EQ(status.at("disk").at("records"), found) << "records that serve nobody";
    EXPECT_EQ(status.at("disk").at("checksum_failures"), 0);
  }

  void LiveAndDie(uint64_t round) {
    // Often: most of it is acknowledged. Seldom: memory overflows by itself.
    Life life{.book = &book_,
              .tally = &tally_,
              .flushes = round / 2 % 2 == 0 ? 10u : 1u,
              .bounded = Bounded(round)};
    std::vector<std::unique_ptr<Hand>> hands;
    hands.reserve(kWorkers);
    for (uint32_t i = 0; i < kWorkers; ++i)
      hands.push_back(std::make_unique<Hand>(node_.unix_address(), &life, i, random_()));
    Hand observer(node_.unix_address(), &life, 0, 0);
    std::vector<std::thread> threads;
    threads.reserve(hands.size());
    for (auto& hand : hands) threads.emplace_back([&hand] { hand->Work(); });

    const absl::Duration until = Below(absl::Milliseconds(1500));
    absl::SleepFor(until * 0.9);
    const auto status = observer.Ask({.verb = AdminVerb::kStatus});
    absl::SleepFor(until * 0.1);
    life.killed = true;
    EXPECT_EQ(node_.Stop(SIGKILL).signal, SIGKILL) << node_.process().Err();
    for (std::thread& thread : threads) thread.join();
    ++tally_.kills;
    if (life.bounded) book_.AnyMayBeGone();
    if (!status.is_object()) return;
    tally_.demoted += status.at("disk").at("writes").get<uint64_t>();
    tally_.deletes += status.at("disk").at("deletes").get<uint64_t>();
    tally_.punched_bytes = std::max(tally_.punched_bytes, HoleBytes(node_.Path("disk")));
  }

  absl::Duration Below(absl::Duration bound) {
    return absl::Microseconds(random_() % std::max<int64_t>(absl::ToInt64Microseconds(bound), 1));
  }

  const uint64_t seed_ = model_test::GivenSeed().value_or(13);
  std::mt19937_64 random_{seed_};
  NodeUnderTest node_{{}};
  absl::Duration opening_ = absl::Milliseconds(200);  // how long it took the last time
  Book book_;
  Tally tally_;
};

TEST_F(NodeKillTest, WhatAFlushAcknowledgedSurvives) {
  SCOPED_TRACE("repeat with --seed=" + std::to_string(seed_));
  const char* given = std::getenv("CISTERN_NODE_KILL_ROUNDS");  // NOLINT(concurrency-mt-unsafe)
  const uint64_t rounds = given == nullptr ? 6 : std::strtoull(given, nullptr, 10);
  for (uint64_t round = 0; round <= rounds && !HasFailure(); ++round) {
    SCOPED_TRACE(round);
    Open(round);
    if (HasFatalFailure()) return;
    Check(round);
    if (round < rounds && !HasFailure()) LiveAndDie(round);
  }
  std::cout << "seed " << seed_ << ": " << tally_.kills << " kills at work, "
            << tally_.while_opening << " while opening; " << tally_.published
            << " objects published, " << tally_.replaced << " of them again; " << tally_.read
            << " read, " << tally_.from_disk << " from below; " << tally_.demoted << " written, "
            << tally_.deletes << " deleted, up to " << (tally_.punched_bytes >> 10)
            << " KiB of holes; " << tally_.flushes << " flushes acknowledged "
            << tally_.acknowledged << ". Restarts: " << tally_.promised
            << " objects had to be there, " << tally_.in_doubt << " were in doubt, " << tally_.found
            << " found\n";
  if (rounds < 6) return;
  // The dice must have reached what the test is about.
  EXPECT_GT(tally_.acknowledged, 0u);
  EXPECT_GT(tally_.replaced, 0u);
  EXPECT_GT(tally_.from_disk, 0u);
  EXPECT_GT(tally_.deletes, 0u);
  EXPECT_GT(tally_.punched_bytes, 0u);
  EXPECT_GT(tally_.in_doubt, 0u);
  EXPECT_GT(tally_.promised, 0u);
  EXPECT_GE(tally_.found, tally_.promised);
}

}  // namespace
}  // namespace cistern::cacheserver
