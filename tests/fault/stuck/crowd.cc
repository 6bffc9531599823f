#include "tests/fault/stuck/crowd.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/integration/node_under_test.h"

namespace cistern::stuck {

void Tally::Add(const Turn& turn) {
  Tally one{.turns = 1,
            .reused = turn.reused,
            .missing = turn.missing,
            .segments = turn.segments,
            .dropped = turn.dropped,
            .wrong_rows = turn.wrong_rows,
            .latest = turn.late};
  if (!turn.trouble.ok()) {
    one.troubles[absl::StatusCodeToString(turn.trouble.code())] = 1;
  } else if (turn.reused != 0) {
    one.good = 1;
    one.longest_good = turn.took;
  }
  Add(one);
}

void Tally::Add(const Tally& other) {
  turns += other.turns;
  good += other.good;
  reused += other.reused;
  missing += other.missing;
  segments += other.segments;
  dropped += other.dropped;
  wrong_rows += other.wrong_rows;
  latest = std::max(latest, other.latest);
  longest_good = std::max(longest_good, other.longest_good);
  for (const auto& [code, count] : other.troubles) troubles[code] += count;
}

std::string Tally::ToString() const {
  std::string text = absl::StrCat(
      turns, " turns, ", good, " good (the longest ", absl::FormatDuration(longest_good), "), ",
      reused, " tokens reused, ", missing, " planned ones missing, ", segments,
      " segments published, ", dropped, " dropped, ", wrong_rows,
      " wrong rows; the latest call, measured from its deadline: ", absl::FormatDuration(latest));
  for (const auto& [code, count] : troubles) absl::StrAppend(&text, "; ", code, " ", count);
  return text;
}

Crowd::Crowd(const ClientOptions& options, const Deadlines& deadlines, uint32_t workers,
             uint64_t seed, uint32_t texts) {
  for (uint32_t i = 0; i < workers; ++i) {
    hands_.push_back(std::make_unique<Hand>());
    Hand* const hand = hands_.back().get();
    hand->thread =
        std::thread([=, this] { Work(options, deadlines, seed * 100 + i, texts, hand); });
  }
}

void Crowd::Work(const ClientOptions& options, const Deadlines& deadlines, uint64_t seed,
                 uint32_t texts, Hand* hand) {
  auto client = Client::Connect(options);
  EXPECT_TRUE(client.ok()) << client.status();
  if (!client.ok()) return;
  TurnWorker worker(seed, deadlines, texts);
  while (!stop_.load()) {
    const Turn turn = worker.Run(**client);
    {
      base::MutexLock lock(&hand->mutex);
      hand->tally.Add(turn);
    }
    if (!turn.trouble.ok()) {
      ++hand->bad;
    } else if (turn.reused != 0) {
      ++hand->good;
    }
  }
}

void Crowd::AwaitGoodTurns(const std::string& when) {
  for (const auto& hand : hands_) {
    const uint64_t enough = hand->good.load() + 2;  // one may have been under way
    cacheserver::Await(absl::StrCat("a good turn ", when),
                       [&] { return hand->good.load() >= enough; });
  }
}

void Crowd::AwaitTrouble(const std::string& when) {
  uint64_t before = 0;
  for (const auto& hand : hands_) before += hand->bad.load();
  cacheserver::Await(absl::StrCat("trouble ", when), [&] {
    uint64_t now = 0;
    for (const auto& hand : hands_) now += hand->bad.load();
    return now > before;
  });
}

Tally Crowd::Stop() {
  stop_.store(true);
  Tally all;
  for (const auto& hand : hands_) {
    if (hand->thread.joinable()) hand->thread.join();
    base::MutexLock lock(&hand->mutex);
    all.Add(hand->tally);
  }
  return all;
}

}  // namespace cistern::stuck
