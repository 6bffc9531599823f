// An object's header says what it is, and each thing that it must not say is refused.
#include "base/object.h"

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

ObjectHeader Segment() {
  ObjectHeader header;
  header.model = Key{1, 1};
  header.content = Key{2, 2};
  header.context = Key{3, 3};
  header.parent_context = Key{4, 4};
  header.tokens = {5, 6, 7};
  return header;
}

ObjectHeader Blob() {
  ObjectHeader header;
  header.kind = ObjectKind::kBlob;
  header.content = Key{2, 2};
  header.blob_bytes = 100;
  return header;
}

// As in Qwen3-Next-80B-A3B.
StateSpec Qwen3NextState() {
  return {.family = StateFamily::kGatedDelta,
          .num_layers = 36,
          .num_heads = 32,
          .num_key_heads = 16,
          .key_dim = 128,
          .value_dim = 128,
          .conv_width = 3,
          .conv_channels = 8192};
}

ObjectHeader Checkpoint() {
  ObjectHeader header = Segment();
  header.kind = ObjectKind::kCheckpoint;
  header.content = StateKey(header.kind, header.context, header.parent_context);
  return header;
}

ObjectHeader Log() {
  ObjectHeader header = Segment();
  header.kind = ObjectKind::kLog;
  header.tokens.resize(2);
  header.parent_context = Key{7, 7};
  header.previous_state = header.parent_context;
  header.content = StateKey(header.kind, header.context, header.parent_context);
  return header;
}

using Fault = std::pair<std::string, std::function<void(ObjectHeader*)>>;

void ExpectFaults(const ObjectHeader& good, const std::vector<Fault>& faults) {
  ASSERT_TRUE(good.Validate().ok()) << good.Validate();
  for (const auto& [problem, break_it] : faults) {
    ObjectHeader header = good;
    break_it(&header);
    EXPECT_INVALID(header.Validate(), problem);
  }
}

TEST(ObjectHeaderTest, PayloadBytes) {
  EXPECT_EQ(Segment().num_tokens(), 3u);
  ModelSpec spec;
  spec.num_layers = 27;
  spec.state = Qwen3NextState();
  EXPECT_EQ(Segment().PayloadBytes(&spec), 3u * 31104);
  EXPECT_EQ(Checkpoint().PayloadBytes(&spec), 77'266'944u);
  EXPECT_EQ(Log().PayloadBytes(&spec), 2u * 36 * 12'544 + 36 * 49'152);
  ObjectHeader every = Log();
  every.tails = LogTails::kEveryToken;
  EXPECT_EQ(every.PayloadBytes(&spec), 2u * 36 * (12'544 + 16'384));
  EXPECT_EQ(Segment().PayloadBytes(nullptr), 0u);
  EXPECT_EQ(Blob().PayloadBytes(nullptr), 100u);
}

TEST(ObjectHeaderTest, StateKeysDifferInEveryPart) {
  const Key key = StateKey(ObjectKind::kLog, Key{1, 2}, Key{3, 4});
  EXPECT_EQ(key, StateKey(ObjectKind::kLog, Key{1, 2}, Key{3, 4}));
  EXPECT_NE(key, StateKey(ObjectKind::kCheckpoint, Key{1, 2}, Key{3, 4}));
  EXPECT_NE(key, StateKey(ObjectKind::kLog, Key{2, 1}, Key{3, 4}));
  EXPECT_NE(key, StateKey(ObjectKind::kLog, Key{1, 2}, Key{4, 3}));
  EXPECT_NE(key, StateKey(ObjectKind::kLog, Key{3, 4}, Key{1, 2}));
}

TEST(ObjectHeaderTest, StateFaults) {
  const std::vector<Fault> both = {
      {"must be StateKey", [](ObjectHeader* h) { h->content.lo ^= 1; }},
      {"must be StateKey", [](ObjectHeader* h) { h->context.lo ^= 1; }},
      {"state is exact", [](ObjectHeader* h) { h->lineage = Lineage::kApproximate; }},
      {"state is exact", [](ObjectHeader* h) { h->encoding = RotaryEncoding::kRotated; }},
      {"0 tokens", [](ObjectHeader* h) { h->tokens.clear(); }}};
  ExpectFaults(Checkpoint(), both);
  ExpectFaults(Log(), both);
  ExpectFaults(Checkpoint(), {{"has no tails but its own",
                               [](ObjectHeader* h) { h->tails = LogTails::kEveryToken; }}});
  ExpectFaults(Log(), {{"must be its previous state's",
                        [](ObjectHeader* h) {
                          h->previous_state = Key{9, 9};
                        }},
                       {"unknown rotary encoding, arithmetic, lineage or tails",
                        [](ObjectHeader* h) { h->tails = static_cast<LogTails>(2); }}});
}

TEST(ObjectHeaderTest, OnlyABlobHasTheBytesOfABlob) {
  const auto add = [](ObjectHeader* h) { h->blob_bytes = 7; };
  ExpectFaults(Segment(), {{"a segment of 7 bytes", add}});
  ExpectFaults(Checkpoint(), {{"a checkpoint of 7 bytes", add}});
  ExpectFaults(Log(), {{"a log of 7 bytes", add}});
}

TEST(ObjectHeaderTest, ASegmentHasNothingOfAState) {
  ExpectFaults(Segment(),
               {{"no previous state",
                 [](ObjectHeader* h) {
                   h->previous_state = Key{9, 9};
                 }},
                {"no tails", [](ObjectHeader* h) { h->tails = LogTails::kEveryToken; }}});
}

TEST(ObjectHeaderTest, SegmentFaults) {
  ExpectFaults(
      Segment(),
      {{"content key is zero", [](ObjectHeader* h) { h->content = Key(); }},
       {"model or context key is zero", [](ObjectHeader* h) { h->model = Key(); }},
       {"model or context key is zero", [](ObjectHeader* h) { h->context = Key(); }},
       {"0 tokens", [](ObjectHeader* h) { h->tokens.clear(); }},
       {"4097 tokens", [](ObjectHeader* h) { h->tokens.resize(4097); }},
       {"base position 4294967295",
        [](ObjectHeader* h) { h->base_position = std::numeric_limits<uint32_t>::max(); }},
       {"unknown kind", [](ObjectHeader* h) { h->kind = static_cast<ObjectKind>(4); }},
       {"unknown rotary", [](ObjectHeader* h) { h->encoding = static_cast<RotaryEncoding>(2); }},
       {"unknown rotary",
        [](ObjectHeader* h) { h->arithmetic = static_cast<RotaryArithmetic>(3); }},
       {"lineage", [](ObjectHeader* h) { h->lineage = static_cast<Lineage>(2); }}});
}

TEST(ObjectHeaderTest, LargestSegment) {
  ObjectHeader header = Segment();
  header.tokens.resize(ObjectHeader::kMaxTokens);
  header.base_position = std::numeric_limits<uint32_t>::max() - ObjectHeader::kMaxTokens;
  EXPECT_TRUE(header.Validate().ok()) << header.Validate();
}

TEST(ObjectHeaderTest, BlobFaults) {
  ExpectFaults(Blob(), {{"content key is zero", [](ObjectHeader* h) { h->content = Key(); }},
                        {"a blob of 0 bytes", [](ObjectHeader* h) { h->blob_bytes = 0; }},
                        {"a blob of 1073741825 bytes",
                         [](ObjectHeader* h) { h->blob_bytes = ObjectHeader::kMaxBlobBytes + 1; }},
                        {"a blob has no model",
                         [](ObjectHeader* h) {
                           h->model = Key{1, 1};
                         }},
                        {"a blob has no model",
                         [](ObjectHeader* h) {
                           h->context = Key{1, 1};
                         }},
                        {"a blob has no model",
                         [](ObjectHeader* h) {
                           h->parent_context = Key{1, 1};
                         }},
                        {"a blob has no model", [](ObjectHeader* h) { h->tokens = {1}; }}});
}

TEST(ObjectHeaderTest, Names) {
  EXPECT_EQ(ToString(ObjectKind::kSegment), "segment");
  EXPECT_EQ(ToString(ObjectKind::kBlob), "blob");
  EXPECT_EQ(ToString(RotaryEncoding::kUnrotated), "unrotated");
  EXPECT_EQ(ToString(RotaryEncoding::kRotated), "rotated");
  EXPECT_EQ(ToString(RotaryArithmetic::kFp32Table), "fp32_table");
  EXPECT_EQ(ToString(RotaryArithmetic::kBf16Table), "bf16_table");
  EXPECT_EQ(ToString(RotaryArithmetic::kBf16PerOp), "bf16_per_op");
  EXPECT_EQ(ToString(static_cast<RotaryArithmetic>(9)), "unknown");
  EXPECT_EQ(ToString(Lineage::kExact), "exact");
  EXPECT_EQ(ToString(Lineage::kApproximate), "approximate");
}

}  // namespace
}  // namespace cistern::base
