// What the admin tool prints, from a node's answers as text.
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/cistern/help.h"
#include "tools/cistern/render.h"
#include "tools/cistern/table.h"

namespace cistern::tools {
namespace {

using testing::HasSubstr;

TEST(TableTest, NumbersStandRightAndLinesEndWithoutBlanks) {
  Table table({"NAME", "COUNT>", "NOTE"});
  table.Row({"a", "7", ""});
  table.Row({"long name", "1,234", "x"});
  EXPECT_EQ(table.Text(),
            "NAME       COUNT  NOTE\n"
            "a              7\n"
            "long name  1,234  x\n");
}

TEST(RenderTest, AgesAreShort) {
  EXPECT_EQ(FormatAge(5), "5s");
  EXPECT_EQ(FormatAge(200), "3m 20s");
  EXPECT_EQ(FormatAge(7260), "2h 1m");
  EXPECT_EQ(FormatAge(93600), "1d 2h");
}

TEST(RenderTest, AListingIsATable) {
  const auto text = RenderList(R"({"objects": [{"id": 3, "kind": "segment", "content": "c0",
    "context": "c1", "model": "m", "model_name": "test/model", "tenant": "0", "tokens": 1280,
    "bytes": 3145728, "where": "disk", "pinned": true, "leases": 0, "value": 1.5}], "next": 7})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("test/model   1,280  3.00 MiB  disk        0  yes"));
  EXPECT_THAT(*text, HasSubstr("raise --limit, or go on with --from 7\n"));
  EXPECT_EQ(*RenderList(R"({"objects": [], "next": 0})"), "no objects\n");
}

TEST(RenderTest, ModelsOrNone) {
  EXPECT_THAT(*RenderModels(R"({"models": []})"), HasSubstr("no models yet"));
}

TEST(RenderTest, CountsAreInWords) {
  EXPECT_EQ(*RenderCount(R"({"evicted": 1})", "evicted"), "evicted 1 object\n");
  EXPECT_EQ(*RenderCount(R"({"pinned": 1234})", "pinned"), "pinned 1,234 objects\n");
}

TEST(RenderTest, AnEvictionSaysWhatStays) {
  EXPECT_EQ(*RenderEvict(R"({"evicted": 2, "kept": 3, "kept_pinned": 2, "kept_leased": 1})"),
            "evicted 2 objects\nkept 3: 2 pinned, 1 leased\n");
  EXPECT_EQ(*RenderEvict(R"({"evicted": 2, "kept": 0, "kept_pinned": 0, "kept_leased": 0})"),
            "evicted 2 objects\n");
}

TEST(RenderTest, AFlushThatLeftSomethingSaysWhy) {
  EXPECT_EQ(*RenderFlush(R"({"flushed_objects": 2, "flushed_bytes": 2048, "failures": 1,
                             "dirty_bytes_left": 1024, "error": "disk full"})"),
            "wrote 2 objects (2.00 KiB) to disk\n1.00 KiB are still in memory only: disk full\n");
}

TEST(RenderTest, VerifyListsWhatIsWrong) {
  const auto text = RenderVerify(R"({"checked": 2, "records_read": 2, "compared_with_memory": 0,
    "memory_only": 0, "wrong": [{"id": 1, "content": "c0", "context": "c1", "error": "damaged"}],
    "invariants": "ok", "next": 0})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("c0       c1       damaged"));
}

TEST(RenderTest, AnAnswerOfAnotherFormIsAnError) {
  for (const char* answer : {"", "garbage", "[]", "{}", R"({"objects": 3, "next": 0})"}) {
    EXPECT_EQ(RenderList(answer).status().code(), absl::StatusCode::kInternal) << answer;
    EXPECT_EQ(RenderStatus(answer).status().code(), absl::StatusCode::kInternal) << answer;
    EXPECT_EQ(RenderInspect(answer).status().code(), absl::StatusCode::kInternal) << answer;
    EXPECT_EQ(RenderVerify(answer).status().code(), absl::StatusCode::kInternal) << answer;
    EXPECT_EQ(RenderEvict(answer).status().code(), absl::StatusCode::kInternal) << answer;
    EXPECT_EQ(RenderFlush(answer).status().code(), absl::StatusCode::kInternal) << answer;
  }
}

TEST(HelpTest, EveryCommandOfTheListHasAPage) {
  for (const char* command :
       {"status", "models", "ls", "inspect", "evict", "pin", "unpin", "verify", "flush"}) {
    EXPECT_THAT(GeneralHelp(), HasSubstr(command));
    EXPECT_THAT(CommandHelp(command), HasSubstr("--deadline")) << command;
  }
  EXPECT_EQ(CommandHelp("nothing"), "");
}

}  // namespace
}  // namespace cistern::tools
