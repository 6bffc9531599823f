// The store keeps of a trace what the policies keep that the bench compares: its pools, leases and
// pages change nothing about who goes first.
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "storage/policy/eviction_policy.h"
#include "tests/unit/storage/store_fixture.h"
#include "tools/bench/evict/block_replay.h"
#include "tools/bench/evict/block_trace.h"

namespace cistern::model_test {
namespace {

using storage::Reservation;
using storage::Store;
using storage::Where;
using tools::BlockReplay;
using tools::BlockRequest;
using tools::BlockTrace;

constexpr size_t kRequests = 1500;

BlockTrace ShortTrace() {
  BlockTrace trace = tools::SyntheticBlockTrace();
  trace.requests.resize(kRequests);
  trace.num_blocks = 0;
  for (const BlockRequest& request : trace.requests) {
    for (const uint32_t block : request.blocks)
      trace.num_blocks = std::max(trace.num_blocks, block + 1);
  }
  return trace;
}

// One page of 16 tokens stands for a block of 512.
class StoreReplay {
 public:
  StoreReplay(const base::ModelSpec& model, const std::string& policy, uint64_t pages)
      : model_(model),
        arena_(storage::TestArena(pages * model.page_bytes())),
        store_({.eviction_policy = policy}, arena_.get()) {
    EXPECT_TRUE(store_.RegisterModel(model).ok());
  }

  // As in the bench, the prompt's blocks stay until it has been served: those that were there are
  // leased, those that are written are pinned.
  size_t Serve(const BlockRequest& request) {
    size_t hits = 0;
    for (; hits < request.blocks.size(); ++hits) {
      const base::ObjectHeader header = Header(request, hits);
      const auto found = store_.Find({.content = header.content, .context = header.context});
      if (found.object.where != Where::kMemory) break;
      EXPECT_TRUE(store_.Acquire(kSession, found.object.id, now_).ok());
    }
    for (size_t i = hits; i < request.blocks.size(); ++i) Put(Header(request, i));
    for (size_t i = hits; i < request.blocks.size(); ++i)
      store_.SetPinned({.key = Header(request, i).context}, false);
    store_.CloseSession(kSession);
    return hits;
  }
  const Store& store() const { return store_; }

 private:
  static constexpr storage::SessionId kSession = 1;
  static constexpr storage::SessionId kWriter = 2;

  static base::Key Name(absl::string_view what, uint32_t block) {
    return base::HashBytes(absl::StrCat(what, " ", block));
  }
  base::ObjectHeader Header(const BlockRequest& request, size_t index) const {
    base::ObjectHeader header;
    header.model = model_.Fingerprint();
    header.tokens.assign(base::ModelSpec::kPageTokens, request.blocks[index]);
    header.content = Name("content", request.blocks[index]);
    header.context = Name("context", request.blocks[index]);
    header.parent_context =
        index == 0 ? base::HashBytes("the beginning") : Name("context", request.blocks[index - 1]);
    header.base_position = static_cast<uint32_t>(index) * base::ModelSpec::kPageTokens;
    return header;
  }
  void Put(const base::ObjectHeader& header) {
    const auto reservation = store_.Reserve(kWriter, header, now_);
    ASSERT_TRUE(reservation.ok());
    if (reservation->outcome != Reservation::Outcome::kReserved) return;
    ASSERT_TRUE(store_.MarkWritten(kWriter, reservation->id, 0, model_.num_layers).ok());
    ASSERT_TRUE(store_.Commit(kWriter, reservation->id, now_).ok());
    store_.SetPinned({.key = header.context}, true);
  }

  base::ModelSpec model_;
  std::unique_ptr<storage::Arena> arena_;
  Store store_;
  absl::Time now_ = absl::UnixEpoch();
};

class StoreReplayTest : public testing::TestWithParam<absl::string_view> {};

TEST_P(StoreReplayTest, KeepsWhatThePolicyKeeps) {
  base::ModelSpec model = storage::TestModel("m", 1, 256);
  model.flops_per_token = 1000000;
  model.flops_per_token_pair = 100;
  base::ModelSpec page_model = model;  // pages are at a 32nd of the blocks' depth
  page_model.flops_per_token_pair *= tools::kTraceBlockTokens / base::ModelSpec::kPageTokens;
  const BlockTrace trace = ShortTrace();
  const uint64_t pages = trace.num_blocks / 5;
  storage::KeyedPolicy policy(storage::MakeEvictionPolicy(GetParam()).value());
  const BlockReplay expected = tools::ReplayBlocks(trace, model, pages, policy);
  StoreReplay replay(page_model, std::string(GetParam()), pages);
  uint64_t hits = 0;
  for (const BlockRequest& request : trace.requests) hits += replay.Serve(request);
  EXPECT_EQ(replay.store().CheckInvariants(), absl::OkStatus());
  EXPECT_GT(replay.store().Stats().evicted_objects, pages);
  EXPECT_NEAR(static_cast<double>(hits), static_cast<double>(expected.hit_blocks),
              0.01 * static_cast<double>(expected.hit_blocks))
      << "of " << expected.blocks;
  RecordProperty("store_hits", static_cast<int>(hits));
  RecordProperty("policy_hits", static_cast<int>(expected.hit_blocks));
}

INSTANTIATE_TEST_SUITE_P(Policies, StoreReplayTest,
                         testing::ValuesIn(storage::EvictionPolicyNames()),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace cistern::model_test
