// What the admin tool prints, from a node's answers as text.
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "nlohmann/json.hpp"
#include "tools/cistern/help.h"
#include "tools/cistern/render.h"
#include "tools/cistern/table.h"

namespace cistern::tools {
namespace {

using testing::HasSubstr;
using Json = nlohmann::ordered_json;

// A node's answer to `status`, memory only, one worker.
Json StatusAnswer() {
  return Json::parse(R"({
    "node": {"name": "n1", "version": "0.1.0", "incarnation": "00", "pid": 42, "uptime_s": 200,
             "unix_socket": "/run/c.sock", "ucx_address": "", "lanes": 2, "allow_mapping": true},
    "memory": {"arena_bytes": 1073741824, "used_bytes": 536870912, "free_bytes": 536870912,
               "remainder_bytes": 0, "objects": 1200, "dirty_bytes": 1024, "pools": []},
    "eviction": {"policy": "value", "demote_above": 0.9, "demote_above_bytes": 966367641,
                 "demote_below": 0.8, "demote_below_bytes": 858993459, "draining": false,
                 "pinned_objects": 0, "pinned_bytes": 0, "object_ttl_ms": 0, "expired_objects": 0},
    "tenants": [{"tenant": "others", "priority": 1, "quota_bytes": 0, "used_bytes": 536870912,
                 "objects": 1200, "evicted_objects": 3, "over_quota": 0}],
    "disk": null,
    "sessions": {"open": 1, "total": 2, "list": [{"id": 7, "client": "worker", "peer": "unix",
                 "age_s": 5, "leases": 3, "reservations": 0, "reads": 0, "lane": 0,
                 "maps_memory": true}]},
    "leases": 3, "reservations": 0,
    "lookups": {"finds": 1000, "exact_hits": 700, "content_hits": 100, "misses": 200},
    "totals": {"commits": 1203, "already_have": 4, "evicted_objects": 3, "demoted_objects": 0,
               "staged_objects": 0, "dropped_objects": 3, "moved_bytes": 0},
    "calls": {"total": 5000, "errors": 0, "bad_messages": 0, "payload_bytes_in": 0,
              "payload_bytes_out": 2048}})");
}

std::string StatusPage(const Json& answer) {
  const absl::StatusOr<std::string> text = RenderStatus(answer.dump());
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

constexpr char kPlainPage[] =
    R"(node           n1 (version 0.1.0, pid 42, up 3m 20s)
listens        unix /run/c.sock, network -
memory         512 MiB of 1.00 GiB (50.0 %), 1,200 objects, 1.00 KiB not on disk
disk           none
eviction       by value; 0 objects pinned (0 B); no time to live
watermarks     90.0 % (922 MiB) down to 80.0 % (819 MiB)
lookups        1,000 chunks: 70.0 % exact, 10.0 % by content, 20.0 % not there
stored         1,203 objects, 4 times had already
moved          3 out of memory, 0 to disk, 0 from disk, 3 dropped; 0 B moved together
calls          5,000, 0 errors, 0 bad messages, 0 B in, 2.00 KiB out
sessions       1 open, 2 since the start; 3 leases, 0 reservations

SESSION  CLIENT  PEER  AGE  LEASES  RESERVATIONS  MAPPED
      7  worker  unix   5s       3             0  yes
)";

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
  EXPECT_THAT(*text, HasSubstr(" 3  segment  c0"));
  EXPECT_THAT(*text, HasSubstr("raise --limit, or go on with --from 7\n"));
  EXPECT_EQ(*RenderList(R"({"objects": [], "next": 0})"), "no objects\n");
}

TEST(RenderTest, AnInspectedLogSaysWhatItStandsOn) {
  const auto text = RenderInspect(R"({"objects": [{"id": 3, "kind": "log", "content": "c0",
    "context": "c1", "parent_context": "c2", "model": "m", "model_name": "test/hybrid",
    "tenant": "0", "encoding": "unrotated", "arithmetic": "fp32_table", "lineage": "exact",
    "previous_state": "c2", "tails": "every_token", "base_position": 40, "tokens": 2, "bytes": 96,
    "where": "memory", "pinned": false, "leases": 0, "value": 0, "token_ids": [7, 8]}]})");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("3 (log, 96 B)"));
  EXPECT_THAT(*text, testing::ContainsRegex("previous_state +c2\n"));
  EXPECT_THAT(*text, testing::ContainsRegex("tails +every_token\n"));
}

TEST(RenderTest, AStatusPageWithoutRulesHasNoTableOfTenants) {
  EXPECT_EQ(StatusPage(StatusAnswer()), kPlainPage);
}

TEST(RenderTest, RulesOfTenantsAreATable) {
  Json answer = StatusAnswer();
  answer["tenants"] = Json::parse(R"([
    {"tenant": "0xd8919ace7a274aa9", "priority": 2, "quota_bytes": 1073741824,
     "used_bytes": 524288, "objects": 1000, "evicted_objects": 12, "over_quota": 4},
    {"tenant": "others", "priority": 0, "quota_bytes": 0, "used_bytes": 0, "objects": 0,
     "evicted_objects": 0, "over_quota": 0}])");
  EXPECT_EQ(StatusPage(answer), std::string(kPlainPage) + R"(
TENANT              PRIORITY     QUOTA     USED  OBJECTS  EVICTED  REFUSED OVER QUOTA
0xd8919ace7a274aa9         2  1.00 GiB  512 KiB    1,000       12                   4
others                     0         -      0 B        0        0                   0
)");
}

TEST(RenderTest, AQuotaForAllIsATableToo) {
  Json answer = StatusAnswer();
  answer["tenants"][0]["quota_bytes"] = 1 << 20;
  EXPECT_THAT(StatusPage(answer),
              HasSubstr("\nTENANT  PRIORITY     QUOTA     USED  OBJECTS  EVICTED  REFUSED OVER "
                        "QUOTA\nothers         1  1.00 MiB  512 MiB    1,200        3"));
}

TEST(RenderTest, TheTermsOfStayingAreSaid) {
  Json answer = StatusAnswer();
  answer["eviction"] = Json::parse(R"({"policy": "s3fifo", "demote_above": 0.75,
    "demote_above_bytes": 786432, "demote_below": 0.5, "demote_below_bytes": 524288,
    "draining": true, "predict_demand": true, "pinned_objects": 1234, "pinned_bytes": 3145728, "object_ttl_ms": 5400000,
    "expired_objects": 56789})");
  EXPECT_THAT(StatusPage(answer),
              HasSubstr("eviction       by s3fifo; 1,234 objects pinned (3.00 MiB); time to live "
                        "1h 30m, 56,789 expired\n"
                        "watermarks     75.0 % (768 KiB) down to 50.0 % (512 KiB); draining now; "
                        "demand predicted\n"));
}

TEST(RenderTest, DeviceMemoryHasALineOfItsOwn) {
  Json answer = StatusAnswer();
  answer["tiers"] = Json::parse(R"([
    {"name": "device", "bytes": 1073741824, "used_bytes": 0, "objects": 0, "dirty_bytes": 0},
    {"name": "host", "bytes": 4294967296, "used_bytes": 1073741824, "objects": 1500,
     "dirty_bytes": 2048}])");
  EXPECT_THAT(StatusPage(answer),
              HasSubstr("device memory  0 B of 1.00 GiB (0.0 %), 0 objects, 0 B not below\n"
                        "host memory    1.00 GiB of 4.00 GiB (25.0 %), 1,500 objects, 2.00 KiB not "
                        "on disk\n"));
  answer["tiers"].erase(0);
  EXPECT_THAT(StatusPage(answer), HasSubstr("memory         512 MiB"));
}

TEST(RenderTest, AnOlderNodeSaysLess) {
  Json answer = StatusAnswer();
  answer.erase("eviction");
  answer.erase("tenants");
  const std::string page = StatusPage(answer);
  EXPECT_THAT(page, HasSubstr("memory         512 MiB"));
  EXPECT_THAT(page, testing::Not(HasSubstr("eviction")));
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
