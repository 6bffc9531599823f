// A worker of a small hybrid model: rows as in client_fixture.h, and a recurrent state whose value
// behind any token can be computed again.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "tests/unit/client_lib/client_fixture.h"
#include "tests/unit/client_lib/state_sequence.h"

namespace cistern::testing {

inline base::ModelSpec HybridModel(base::StateFamily family = base::StateFamily::kGatedDelta) {
  base::ModelSpec model = SmallModel();
  model.name = "small-hybrid";
  model.state = SmallState(family);
  return model;
}

class StateFixture : public ClientFixture {
 protected:
  void StartHybrid(bool mapped, base::StateFamily family = base::StateFamily::kGatedDelta) {
    Start({.model = HybridModel(family), .mapped = mapped});
  }

  // Shares all rows of `text`, as whoever computed it does.
  void SeedRows(const Text& text) { Seed(text); }

  // Shares states at `positions` of `text`: with a log of [log_begin, size) if one is given.
  // `log_only`: there is no state to fall back to.
  absl::StatusOr<StateReport> SeedStates(const Text& text, const std::vector<uint32_t>& positions,
                                         const FetchResult& fetched, uint32_t log_begin,
                                         StatePolicy policy = {.max_chain_tokens = 1000},
                                         bool log_only = false) {
    const StateSequence sequence(model_.state, text.tokens);
    std::vector<StateMemory> memories;
    memories.reserve(positions.size());
    StateSource source;
    for (uint32_t position : positions) {
      memories.push_back(sequence.At(position));
      source.points.push_back({position, memories.back().view()});
      if (log_only) source.points.back().state.temporal.clear();
    }
    if (log_begin < text.size()) source.log = sequence.Log(log_begin, text.size());
    return client_->PublishStates(model_, text.tokens, fetched, source, policy, text.parts);
  }
  static constexpr uint32_t kNoLog = UINT32_MAX;

  // Checkpoints only.
  void MustCheckpoint(const Text& text, const std::vector<uint32_t>& positions) {
    const auto report = SeedStates(text, positions, {}, kNoLog);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->checkpoints + report->had, positions.size());
  }
  // A log behind each other of `positions`, from `begin` on, where a state is known.
  void MustLog(const Text& text, uint32_t begin, uint32_t chain,
               const std::vector<uint32_t>& positions, base::LogTails tails) {
    const auto report = SeedStates(text, positions, ResumedAt(begin, chain), begin,
                                   {.max_chain_tokens = 1000, .tails = tails}, /*log_only=*/true);
    ASSERT_TRUE(report.ok()) << report.status();
    ASSERT_EQ(report->logs, positions.size());
  }
  static FetchResult ResumedAt(uint32_t position, uint32_t chain) {
    FetchResult fetched;
    fetched.state_position = position;
    fetched.stored_position = position;
    fetched.stored_chain_tokens = chain;
    return fetched;
  }

  // Fetches into `memory`, which is filled with something else before.
  FetchResult FetchState(const Text& text, Plan plan, StateMemory* memory) {
    memory->Fill(std::byte{0x5a});
    const StateSequence sequence(model_.state, text.tokens);
    FetchOptions options = Raw();
    options.state = memory->view();
    options.constants = sequence.constants();
    return *MustFetch(text, std::move(plan), options).Wait();
  }

  // The plan resumes at `position`, and what is fetched is the state there.
  void ExpectResumed(const Text& text, uint32_t position, uint32_t folded) {
    Plan plan = MustPlan(text, Exact());
    EXPECT_EQ(plan.resume().position, position);
    EXPECT_EQ(plan.resume().folded_tokens, folded);
    StateMemory memory(model_.state);
    const FetchResult fetched = FetchState(text, std::move(plan), &memory);
    EXPECT_EQ(fetched.state_position, position);
    EXPECT_LE(fetched.stored_position, position);
    EXPECT_EQ(position - fetched.stored_position, folded - fetched.stored_chain_tokens);
    EXPECT_EQ(Recovered(fetched), position);
    EXPECT_TRUE(fetched.missing.empty());
    EXPECT_EQ(Mismatches(fetched), 0u);
    const StateMemory expected = StateSequence(model_.state, text.tokens).At(position);
    if (folded == 0 && !folded_by_recorder_) {
      EXPECT_TRUE(memory == expected) << "a checkpoint is copied bit by bit";
    } else {
      EXPECT_LE(memory.DistanceTo(expected), 2e-6);
      EXPECT_EQ(memory.conv(), expected.conv());
    }
    ExpectNoLeases();
  }

  // They go back behind whoever waited for the bytes.
  void ExpectNoLeases() {
    const absl::Time give_up = absl::Now() + absl::Seconds(20);
    while (node_->num_leases() > 0 && absl::Now() < give_up) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_EQ(node_->num_leases(), 0u);
  }

  bool folded_by_recorder_ = false;  // checkpoints, in float32
};

}  // namespace cistern::testing
