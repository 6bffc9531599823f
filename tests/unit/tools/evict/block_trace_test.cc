#include "tools/bench/evict/block_trace.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Line(uint64_t timestamp, uint64_t input, absl::string_view hashes) {
  return absl::StrCat(R"({"timestamp": )", timestamp, R"(, "input_length": )", input,
                      R"(, "output_length": 7, "hash_ids": [)", hashes, "]}\n");
}

TEST(BlockTraceTest, BlocksAreNumberedAndTheLastHoldsTheRest) {
  const auto trace =
      ParseBlockTrace("t", Line(0, 1200, "70, 5, 9") + "\n" + Line(0, 1024, "70, 8"));
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->requests.size(), 2u);
  EXPECT_THAT(trace->requests[0].blocks, ElementsAre(0, 1, 2));
  EXPECT_THAT(trace->requests[1].blocks, ElementsAre(0, 3));
  EXPECT_EQ(trace->num_blocks, 4u);
  EXPECT_EQ(trace->requests[0].BlockTokens(0), 512u);
  EXPECT_EQ(trace->requests[0].BlockTokens(2), 176u);
  EXPECT_EQ(trace->requests[1].BlockTokens(1), 512u);
}

TEST(BlockTraceTest, TheSameHashAfterAnotherBlockIsAnotherBlock) {
  const auto trace = ParseBlockTrace(
      "t", Line(0, 1024, "1, 2") + Line(1, 1024, "2, 2") + Line(2, 1536, "1, 2, 1"));
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_THAT(trace->requests[1].blocks, ElementsAre(2, 3));
  EXPECT_THAT(trace->requests[2].blocks, ElementsAre(0, 1, 4));
}

void ExpectError(absl::string_view jsonl, absl::string_view message) {
  const absl::Status status = ParseBlockTrace("t.jsonl", jsonl).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << jsonl;
  EXPECT_THAT(status.message(), HasSubstr(message)) << jsonl;
}

TEST(BlockTraceTest, ErrorsNameTheLineAndWhatIsWrong) {
  ExpectError("", "t.jsonl: no requests");
  ExpectError(" \n\r\n", "t.jsonl: no requests");
  ExpectError("{", "t.jsonl:1: not a JSON object");
  ExpectError("\n[1]", "t.jsonl:2: not a JSON object");
  ExpectError(Line(0, 1, "1") + "x", "t.jsonl:2: not a JSON object");
  ExpectError(R"({"input_length": 1})", "t.jsonl:1: timestamp is missing");
  ExpectError(R"({"timestamp": -1})", "t.jsonl:1: timestamp is not a whole number");
  ExpectError(R"({"timestamp": 0, "input_length": 1.5})", "input_length is not a whole number");
  ExpectError(R"({"timestamp": 0, "input_length": 1})", "output_length is missing");
  ExpectError(R"({"timestamp": 0, "input_length": 1, "output_length": 1})",
              "hash_ids is not a list");
  ExpectError(R"({"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": 3})",
              "hash_ids is not a list");
  ExpectError(Line(0, 1, "\"a\""), "hash_ids: a whole number is expected");
  ExpectError(Line(0, 1, "-4"), "hash_ids: a whole number is expected");
  ExpectError(Line(0, 0, ""), "a prompt has 1 to 16777216 tokens");
  ExpectError(Line(0, (1u << 24) + 1, "1"), "a prompt has 1 to 16777216 tokens");
  ExpectError(Line(0, 513, "1"), "513 tokens are 2 blocks, but there are 1 hash_ids");
  ExpectError(Line(0, 512, "1, 2"), "512 tokens are 1 blocks, but there are 2 hash_ids");
  ExpectError(Line(5, 1, "1") + Line(4, 1, "1"), "t.jsonl:2: timestamp: it arrives before");
}

TEST(BlockTraceTest, ATruncatedFileIsAnErrorUnlessItEndsWithALine) {
  const std::string first = Line(0, 1024, "1, 2");
  const std::string text = first + Line(3, 600, "1, 3");
  // Without its last byte, the line's end, a line is still whole.
  const std::set<size_t> whole = {first.size() - 1, first.size(), text.size() - 1, text.size()};
  for (size_t length = 0; length <= text.size(); ++length) {
    const auto trace = ParseBlockTrace("t", absl::string_view(text).substr(0, length));
    EXPECT_EQ(trace.ok(), whole.contains(length)) << length << ": " << trace.status();
  }
}

TEST(BlockTraceTest, AnyChangedByteGivesATraceOrAnError) {
  const std::string text = Line(0, 1024, "1, 2") + Line(3, 600, "1, 3");
  int errors = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char byte : {'\0', '"', '9', '-', '[', '}', 'e', '\n', '\xff'}) {
      std::string changed = text;
      changed[at] = byte;
      const auto trace = ParseBlockTrace("t", changed);
      if (!trace.ok()) {
        ++errors;
        EXPECT_EQ(trace.status().code(), absl::StatusCode::kInvalidArgument);
        continue;
      }
      for (const BlockRequest& request : trace->requests) {
        const size_t last = request.blocks.size() - 1;
        EXPECT_LE(request.BlockTokens(last), kTraceBlockTokens);
        EXPECT_GT(request.BlockTokens(last), 0u);
      }
    }
  }
  EXPECT_GT(errors, 500);
}

TEST(BlockTraceTest, AMissingFileIsNotFound) {
  const absl::Status status = LoadBlockTrace("/nonexistent/trace.jsonl").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.message(), HasSubstr("cannot read '/nonexistent/trace.jsonl'"));
}

TEST(BlockTraceTest, TheSyntheticTraceIsWellFormedAndAlwaysTheSame) {
  const BlockTrace trace = SyntheticBlockTrace();
  const BlockTrace again = SyntheticBlockTrace();
  ASSERT_EQ(trace.requests.size(), 4000u);
  std::set<uint32_t> seen;
  uint64_t uses = 0;
  for (size_t r = 0; r < trace.requests.size(); ++r) {
    const BlockRequest& request = trace.requests[r];
    EXPECT_EQ(request.blocks, again.requests[r].blocks);
    EXPECT_EQ(request.input_tokens, again.requests[r].input_tokens);
    EXPECT_EQ((request.input_tokens + 511) / 512, request.blocks.size());
    seen.insert(request.blocks.begin(), request.blocks.end());
    uses += request.blocks.size();
  }
  EXPECT_EQ(seen.size(), trace.num_blocks);
  EXPECT_GT(uses, 2 * seen.size()) << "conversations go on";
}

}  // namespace
}  // namespace cistern::tools
