#include "tools/bench/trace.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kPieces[] = R"({"piece":0,"tokens":[1,2,3]}
{"piece":7,"tokens":[9]}
)";

absl::Status ErrorOf(absl::string_view calls, absl::string_view pieces = kPieces) {
  return ParseTrace("calls.jsonl", calls, pieces).status();
}

TEST(TraceTest, JoinsPartsAndSaysWhereTheyBegin) {
  const auto trace = ParseTrace("t", R"({"id":0,"prompt":[0,7,0],"output":7})", kPieces);
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->calls.size(), 1u);
  EXPECT_THAT(trace->calls[0].Tokens(), ElementsAre(1, 2, 3, 9, 1, 2, 3));
  EXPECT_THAT(trace->calls[0].PartBoundaries(), ElementsAre(3, 4));
}

TEST(TraceTest, TheOutputFollowsThePrompt) {
  const auto trace = ParseTrace(
      "t", "{\"prompt\":[7],\"output\":0}\n{\"prompt\":[7]}\n{\"prompt\":[0],\"output\":null}",
      kPieces);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_THAT(trace->calls[0].Tokens(), ElementsAre(9));
  EXPECT_THAT(trace->calls[0].Sequence(), ElementsAre(9, 1, 2, 3));
  EXPECT_THAT(trace->calls[0].SequenceBoundaries(), ElementsAre(1));
  EXPECT_THAT(trace->calls[1].Sequence(), ElementsAre(9));
  EXPECT_TRUE(trace->calls[1].SequenceBoundaries().empty());
  EXPECT_EQ(trace->calls[2].output, nullptr);
  EXPECT_THAT(ErrorOf(R"({"prompt":[0],"output":5})").message(),
              HasSubstr("piece 5 is not in pieces.jsonl"));
}

TEST(TraceTest, RandomPartsFollowTheirDefinition) {
  // First values of SplitMix64 from states (seed << 20) + k, reduced; computed apart in Python.
  const Piece piece = RandomPiece(3, 50);
  EXPECT_EQ(piece->size(), 3u);
  const auto again = ParseTrace("t", R"({"prompt":[{"random":3,"seed":50}]})", kPieces);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->calls[0].Tokens(), *piece);
  EXPECT_NE(*RandomPiece(3, 51), *piece);
  for (base::TokenId token : *piece) EXPECT_LT(token, 128000u);
  EXPECT_THAT(*piece, ElementsAre(66582, 80226, 78987));
}

TEST(TraceTest, BadLinesAreNamed) {
  EXPECT_THAT(ErrorOf("{\"prompt\":[0]}\nnot json\n").message(), HasSubstr("calls.jsonl:2"));
  EXPECT_THAT(ErrorOf(R"({"prompt":[5]})").message(), HasSubstr("piece 5 is not in pieces.jsonl"));
  EXPECT_THAT(ErrorOf(R"({"output":1})").message(), HasSubstr("prompt"));
  EXPECT_THAT(ErrorOf(R"({"prompt":[]})").message(), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf(R"({"prompt":[{"random":99999999,"seed":1}]})").message(),
              HasSubstr("99999999"));
  EXPECT_THAT(ErrorOf("\n\n").message(), HasSubstr("no calls"));
  EXPECT_THAT(
      ErrorOf(R"({"prompt":[0]})", "{\"piece\":0,\"tokens\":[1]}\n{\"piece\":0,\"tokens\":[2]}")
          .message(),
      HasSubstr("pieces.jsonl:2"));
}

TEST(TraceTest, MissingFilesSayWhatToDo) {
  const absl::Status missing = LoadTrace("/nonexistent/trace.jsonl").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(missing.message(), HasSubstr("--workload repo"));

  const auto directory = std::filesystem::temp_directory_path() / "cistern-trace-test";
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "t.jsonl") << R"({"prompt":[0]})";
  EXPECT_THAT(LoadTrace((directory / "t.jsonl").string()).status().message(),
              HasSubstr("pieces.jsonl"));
  std::ofstream(directory / "pieces.jsonl") << kPieces;
  EXPECT_TRUE(LoadTrace((directory / "t.jsonl").string()).ok());
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace cistern::tools
