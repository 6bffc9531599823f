// How a replay's report looks, for people and for programs.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/units.h"
#include "tools/bench/replay.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using base::FormatBytes;
using base::FormatCount;

double Percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string TokenLine(absl::string_view name, uint64_t tokens, uint64_t all,
                      absl::string_view note) {
  return absl::StrFormat("  %-22s %14s  %6.2f %%  %s\n", name, FormatCount(tokens),
                         Percent(tokens, all), note);
}

std::string Line(absl::string_view name, absl::string_view value) {
  return absl::StrFormat("  %-22s %s\n", name, value);
}

std::string ExactNote(const ReplayReport& r) {
  if (r.exact_tokens == 0) return "same past, from the first token on";
  if (r.lossless_tokens == r.exact_tokens) return "same past; all lossless";
  return absl::StrFormat("same past; %.2f %% lossless, the rest behind content reuse",
                         Percent(r.lossless_tokens, r.prompt_tokens));
}

std::string ContentNote(const ReplayReport& r) {
  std::string note = "same text behind another past";
  if (r.moved_tokens == 0) return note;
  return absl::StrCat(note, "; ", FormatCount(r.moved_tokens), " tokens moved, by up to ",
                      FormatCount(r.moved_furthest), " positions");
}

std::string Published(const ReplayReport& r) {
  std::string text =
      absl::StrFormat("%s in %s segments, %s dropped", FormatBytes(r.bytes_published),
                      FormatCount(r.segments_published), FormatCount(r.segments_dropped));
  if (r.segments_dropped == 0) return text;
  return text + (r.node_gone.empty() && r.node_no_room == 0
                     ? ": larger than the pool can hold, or not written in time"
                 : !r.node_gone.empty() ? ": the node is gone"
                                        : ": no room in the pool");
}

std::string FetchSpeed(const ReplayReport& r) {
  if (r.bytes_fetched == 0)
    return absl::StrFormat("- (nothing was fetched; memcpy in this run %.2f GB/s)", r.memcpy_gbps);
  return absl::StrFormat("%.2f GB/s (memcpy in this run %.2f: ratio %.2f)", r.fetch_gbps,
                         r.memcpy_gbps, r.memcpy_gbps == 0 ? 0 : r.fetch_gbps / r.memcpy_gbps);
}

std::string AboutNode(const ReplayReport& r) {
  if (!r.node_gone.empty()) return absl::StrCat("\nnode: gone: ", r.node_gone, "\n");
  std::string out = "\nnode\n";
  absl::StrAppend(&out,
                  Line("pool", absl::StrFormat("%s used of %s", FormatBytes(r.node_used_bytes),
                                               FormatBytes(r.node_arena_bytes))));
  if (r.node_resident_bytes != 0)
    absl::StrAppend(&out, Line("resident", FormatBytes(r.node_resident_bytes)));
  if (r.node_no_room != 0)
    absl::StrAppend(&out, Line("found no room", FormatCount(r.node_no_room) + " reservations"));
  if (r.node_evicted_objects != 0)
    absl::StrAppend(
        &out, Line("evicted for room", absl::StrFormat("%s objects; %s objects are gone altogether",
                                                       FormatCount(r.node_evicted_objects),
                                                       FormatCount(r.node_dropped_objects))));
  if (r.node_write_failures != 0)
    absl::StrAppend(&out, Line("disk write errors", FormatCount(r.node_write_failures)));
  return out;
}

std::string Failures(const ReplayReport& r) {
  const uint64_t failures = r.failed_plans + r.failed_fetches + r.failed_publishes;
  if (failures + r.missing_tokens == 0) return "";
  std::string out =
      Line("failed calls",
           absl::StrFormat("%s plans, %s fetches, %s publishes; %s planned tokens did not come",
                           FormatCount(r.failed_plans), FormatCount(r.failed_fetches),
                           FormatCount(r.failed_publishes), FormatCount(r.missing_tokens)));
  if (!r.first_plan_error.empty()) absl::StrAppend(&out, Line("  first plan", r.first_plan_error));
  if (!r.first_fetch_error.empty())
    absl::StrAppend(&out, Line("  first fetch", r.first_fetch_error));
  if (!r.first_publish_error.empty())
    absl::StrAppend(&out, Line("  first publish", r.first_publish_error));
  return out;
}

}  // namespace

std::string ToTable(const ReplayReport& r) {
  std::string out = absl::StrFormat("replay of %s: %s calls, model %s (%u layers)\n\ntokens\n",
                                    r.workload, FormatCount(r.calls), r.model, r.layers);
  absl::StrAppend(&out, TokenLine("prompts", r.prompt_tokens, r.prompt_tokens, ""));
  absl::StrAppend(&out, TokenLine("exact", r.exact_tokens, r.prompt_tokens, ExactNote(r)));
  absl::StrAppend(&out, TokenLine("content", r.content_tokens, r.prompt_tokens, ContentNote(r)));
  absl::StrAppend(&out, TokenLine("computed", r.computed_tokens, r.prompt_tokens, ""));
  absl::StrAppend(&out, TokenLine("32-gram bound", r.bound_tokens, r.prompt_tokens,
                                  absl::StrFormat("recovered %.2f %% of it",
                                                  Percent(r.recovered_tokens(), r.bound_tokens))));
  absl::StrAppend(&out, "\nrows\n");
  absl::StrAppend(&out, Line("verified", FormatCount(r.rows_verified)));
  absl::StrAppend(&out, Line("mismatched", FormatCount(r.rows_mismatched)));
  absl::StrAppend(&out, "\nbytes\n");
  absl::StrAppend(&out, Line("fetched", FormatBytes(r.bytes_fetched)));
  absl::StrAppend(&out, Line("  from memory", FormatBytes(r.bytes_fetched - r.bytes_from_disk)));
  absl::StrAppend(&out, Line("  from disk", FormatBytes(r.bytes_from_disk)));
  absl::StrAppend(&out, Line("  read in place", FormatBytes(r.bytes_in_place)));
  absl::StrAppend(&out, Line("published", Published(r)));
  absl::StrAppend(&out, "\nspeed\n");
  absl::StrAppend(&out, Line("fetch", FetchSpeed(r)));
  absl::StrAppend(&out, Line("plan p50 / p99",
                             absl::StrFormat("%.0f / %.0f us", r.plan_us_p50, r.plan_us_p99)));
  absl::StrAppend(&out,
                  Line("fetch p50 / p99",
                       r.bytes_fetched == 0
                           ? "-"
                           : absl::StrFormat("%.0f / %.0f us", r.fetch_us_p50, r.fetch_us_p99)));
  return out + AboutNode(r) + Failures(r);
}

std::string ToJson(const ReplayReport& r) {
  const nlohmann::ordered_json j = {
      {"workload", r.workload},
      {"model", r.model},
      {"layers", r.layers},
      {"calls", r.calls},
      {"prompt_tokens", r.prompt_tokens},
      {"exact_tokens", r.exact_tokens},
      {"lossless_tokens", r.lossless_tokens},
      {"content_tokens", r.content_tokens},
      {"computed_tokens", r.computed_tokens},
      {"bound_tokens", r.bound_tokens},
      {"moved_tokens", r.moved_tokens},
      {"moved_furthest", r.moved_furthest},
      {"rows_verified", r.rows_verified},
      {"rows_mismatched", r.rows_mismatched},
      {"bytes_fetched", r.bytes_fetched},
      {"bytes_from_disk", r.bytes_from_disk},
      {"bytes_in_place", r.bytes_in_place},
      {"bytes_published", r.bytes_published},
      {"segments_published", r.segments_published},
      {"segments_dropped", r.segments_dropped},
      {"missing_tokens", r.missing_tokens},
      {"failed_plans", r.failed_plans},
      {"failed_fetches", r.failed_fetches},
      {"failed_publishes", r.failed_publishes},
      {"first_plan_error", r.first_plan_error},
      {"first_fetch_error", r.first_fetch_error},
      {"first_publish_error", r.first_publish_error},
      {"fetch_gbps", r.fetch_gbps},
      {"memcpy_gbps", r.memcpy_gbps},
      {"plan_us_p50", r.plan_us_p50},
      {"plan_us_p99", r.plan_us_p99},
      {"fetch_us_p50", r.fetch_us_p50},
      {"fetch_us_p99", r.fetch_us_p99},
      {"node_used_bytes", r.node_used_bytes},
      {"node_arena_bytes", r.node_arena_bytes},
      {"node_resident_bytes", r.node_resident_bytes},
      {"node_no_room", r.node_no_room},
      {"node_evicted_objects", r.node_evicted_objects},
      {"node_dropped_objects", r.node_dropped_objects},
      {"node_write_failures", r.node_write_failures},
      {"node_gone", r.node_gone},
  };
  return j.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace cistern::tools
