#include "tools/cistern/render.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/status_macros.h"
#include "base/units.h"
#include "nlohmann/json.hpp"
#include "tools/cistern/table.h"

namespace cistern::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kShownTokens = 32;

std::string Count(const Json& value) { return base::FormatCount(value.get<uint64_t>()); }
std::string Bytes(const Json& value) { return base::FormatBytes(value.get<uint64_t>()); }
std::string String(const Json& value) { return value.get<std::string>(); }
std::string YesNo(const Json& value) { return value.get<bool>() ? "yes" : "no"; }

std::string OrNone(const std::string& text) { return text.empty() ? "-" : text; }

std::string Share(uint64_t part, uint64_t whole) {
  if (whole == 0) return "-";
  return absl::StrFormat("%.1f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// Nlohmann's exceptions end here.
template <typename F>
absl::StatusOr<std::string> Render(absl::string_view text, F render) {
  try {
    return render(Json::parse(text.begin(), text.end()));
  } catch (const nlohmann::json::exception& e) {
    return absl::InternalError(
        absl::StrCat("the node's answer is not understood (", e.what(),
                     "); is the node of the same version? --json shows the answer as it is"));
  }
}

void Line(std::string* out, absl::string_view name, absl::string_view value) {
  absl::StrAppendFormat(out, "%-14s %s\n", name, value);
}

void RenderNode(const Json& json, std::string* out) {
  const Json& node = json.at("node");
  Line(out, "node",
       absl::StrCat(String(node.at("name")), " (version ", String(node.at("version")), ", pid ",
                    node.at("pid").get<int64_t>(), ", up ",
                    FormatAge(node.at("uptime_s").get<int64_t>()), ")"));
  Line(out, "listens",
       absl::StrCat("unix ", OrNone(String(node.at("unix_socket"))), ", network ",
                    OrNone(String(node.at("ucx_address")))));
}

void RenderMemory(absl::string_view name, const Json& memory, const char* all_bytes,
                  absl::string_view below, std::string* out) {
  const auto used = memory.at("used_bytes").get<uint64_t>();
  const auto all = memory.at(all_bytes).get<uint64_t>();
  Line(out, name,
       absl::StrCat(base::FormatBytes(used), " of ", base::FormatBytes(all), " (", Share(used, all),
                    "), ", Count(memory.at("objects")), " objects, ",
                    Bytes(memory.at("dirty_bytes")), " not ", below));
}

void RenderTiers(const Json& json, std::string* out) {
  const auto tiers = json.find("tiers");  // an older node does not say them
  if (tiers != json.end() && tiers->size() > 1 && String(tiers->at(0).at("name")) == "device") {
    RenderMemory("device memory", tiers->at(0), "bytes", "below", out);
    RenderMemory("host memory", tiers->at(1), "bytes", "on disk", out);
  } else {
    RenderMemory("memory", json.at("memory"), "arena_bytes", "on disk", out);
  }
  const Json& disk = json.at("disk");
  if (disk.is_null()) {
    Line(out, "disk", "none");
    return;
  }
  Line(out, "disk",
       absl::StrCat(Bytes(disk.at("payload_bytes")), ", ", Count(disk.at("records")), " objects, ",
                    String(disk.at("path"))));
  if (disk.contains("loading") && !disk.at("loading").is_null()) {
    const Json& loading = disk.at("loading");
    const std::string error = String(loading.at("error"));
    Line(out, "disk index",
         absl::StrCat("loading ", Count(loading.at("loaded")), " of ", Count(loading.at("of")),
                      error.empty() ? "" : absl::StrCat("; trouble: ", error)));
  }
  const uint64_t failures = disk.at("write_failures").get<uint64_t>() +
                            disk.at("read_failures").get<uint64_t>() +
                            disk.at("checksum_failures").get<uint64_t>();
  if (failures > 0)
    Line(
        out, "disk errors",
        absl::StrCat(Count(disk.at("write_failures")), " writes, ", Count(disk.at("read_failures")),
                     " reads, ", Count(disk.at("checksum_failures")), " checksums"));
}

// An older node does not say it.
void RenderEviction(const Json& json, std::string* out) {
  const auto it = json.find("eviction");
  if (it == json.end()) return;
  const Json& eviction = *it;
  const auto ttl_ms = eviction.at("object_ttl_ms").get<int64_t>();
  Line(
      out, "eviction",
      absl::StrCat("by ", String(eviction.at("policy")), "; ", Count(eviction.at("pinned_objects")),
                   " objects pinned (", Bytes(eviction.at("pinned_bytes")), "); ",
                   ttl_ms == 0 ? "no time to live"
                               : absl::StrCat("time to live ", FormatAge(ttl_ms / 1000), ", ",
                                              Count(eviction.at("expired_objects")), " expired")));
  const auto mark = [&](const char* share, const char* bytes) {
    return absl::StrFormat("%.1f %% (%s)", 100 * eviction.at(share).get<double>(),
                           Bytes(eviction.at(bytes)));
  };
  Line(out, "watermarks",
       absl::StrCat(mark("demote_above", "demote_above_bytes"), " down to ",
                    mark("demote_below", "demote_below_bytes"),
                    eviction.at("draining").get<bool>() ? "; draining now" : "",
                    eviction.value("predict_demand", false) ? "; demand predicted" : ""));
}

// Only where a rule says something: a tenant that is named, or a quota of all others.
void RenderTenants(const Json& json, std::string* out) {
  const auto tenants = json.find("tenants");
  if (tenants == json.end() || tenants->empty()) return;
  if (tenants->size() == 1 && tenants->at(0).at("quota_bytes").get<uint64_t>() == 0) return;
  Table table(
      {"TENANT", "PRIORITY>", "QUOTA>", "USED>", "OBJECTS>", "EVICTED>", "REFUSED OVER QUOTA>"});
  for (const Json& t : *tenants) {
    const bool bounded = t.at("quota_bytes").get<uint64_t>() > 0;
    table.Row({String(t.at("tenant")), Count(t.at("priority")),
               bounded ? Bytes(t.at("quota_bytes")) : "-", Bytes(t.at("used_bytes")),
               Count(t.at("objects")), Count(t.at("evicted_objects")), Count(t.at("over_quota"))});
  }
  absl::StrAppend(out, "\n", table.Text());
}

void RenderTraffic(const Json& json, std::string* out) {
  const Json& lookups = json.at("lookups");
  const auto finds = lookups.at("finds").get<uint64_t>();
  Line(out, "lookups",
       absl::StrCat(Count(lookups.at("finds")),
                    " chunks: ", Share(lookups.at("exact_hits").get<uint64_t>(), finds), " exact, ",
                    Share(lookups.at("content_hits").get<uint64_t>(), finds), " by content, ",
                    Share(lookups.at("misses").get<uint64_t>(), finds), " not there"));
  const Json& totals = json.at("totals");
  Line(out, "stored",
       absl::StrCat(Count(totals.at("commits")), " objects, ", Count(totals.at("already_have")),
                    " times had already"));
  Line(out, "moved",
       absl::StrCat(Count(totals.at("evicted_objects")), " out of memory, ",
                    Count(totals.at("demoted_objects")), " to disk, ",
                    Count(totals.at("staged_objects")), " from disk, ",
                    Count(totals.at("dropped_objects")), " dropped; ",
                    Bytes(totals.at("moved_bytes")), " moved together"));
  const Json& calls = json.at("calls");
  Line(out, "calls",
       absl::StrCat(Count(calls.at("total")), ", ", Count(calls.at("errors")), " errors, ",
                    Count(calls.at("bad_messages")), " bad messages, ",
                    Bytes(calls.at("payload_bytes_in")), " in, ",
                    Bytes(calls.at("payload_bytes_out")), " out"));
}

void RenderSessions(const Json& json, std::string* out) {
  const Json& sessions = json.at("sessions");
  Line(out, "sessions",
       absl::StrCat(Count(sessions.at("open")), " open, ", Count(sessions.at("total")),
                    " since the start; ", Count(json.at("leases")), " leases, ",
                    Count(json.at("reservations")), " reservations"));
  const Json& list = sessions.at("list");
  if (list.empty()) return;
  Table table({"SESSION>", "CLIENT", "PEER", "AGE>", "LEASES>", "RESERVATIONS>", "MAPPED"});
  for (const Json& s : list)
    table.Row({Count(s.at("id")), String(s.at("client")), String(s.at("peer")),
               FormatAge(s.at("age_s").get<int64_t>()), Count(s.at("leases")),
               Count(s.at("reservations")), YesNo(s.at("maps_memory"))});
  absl::StrAppend(out, "\n", table.Text());
}

}  // namespace

std::string FormatAge(int64_t seconds) {
  const int64_t minutes = seconds / 60;
  const int64_t hours = minutes / 60;
  if (minutes == 0) return absl::StrCat(seconds, "s");
  if (hours == 0) return absl::StrCat(minutes, "m ", seconds % 60, "s");
  if (hours < 24) return absl::StrCat(hours, "h ", minutes % 60, "m");
  return absl::StrCat(hours / 24, "d ", hours % 24, "h");
}

absl::StatusOr<std::string> RenderStatus(absl::string_view text) {
  return Render(text, [](const Json& json) {
    std::string out;
    RenderNode(json, &out);
    RenderTiers(json, &out);
    RenderEviction(json, &out);
    RenderTraffic(json, &out);
    RenderSessions(json, &out);
    RenderTenants(json, &out);
    return out;
  });
}

absl::StatusOr<std::string> RenderModels(absl::string_view text) {
  return Render(text, [](const Json& json) -> std::string {
    const Json& models = json.at("models");
    if (models.empty()) return "no models yet: workers register theirs when they connect\n";
    Table table({"FINGERPRINT", "NAME", "REVISION", "LAYERS>", "LAYOUT", "BYTES/TOKEN>"});
    for (const Json& m : models)
      table.Row({String(m.at("fingerprint")), String(m.at("name")), String(m.at("revision")),
                 Count(m.at("layers")), String(m.at("layout")), Count(m.at("token_bytes"))});
    return table.Text();
  });
}

absl::StatusOr<std::string> RenderList(absl::string_view text) {
  return Render(text, [](const Json& json) -> std::string {
    const Json& objects = json.at("objects");
    if (objects.empty()) return "no objects\n";
    Table table({"ID>", "KIND", "CONTENT", "CONTEXT", "MODEL", "TOKENS>", "SIZE>", "WHERE",
                 "LEASES>", "PINNED"});
    for (const Json& o : objects) {
      table.Row({std::to_string(o.at("id").get<uint64_t>()), String(o.at("kind")),
                 String(o.at("content")), String(o.at("context")),
                 OrNone(String(o.at("model_name"))), Count(o.at("tokens")), Bytes(o.at("bytes")),
                 String(o.at("where")), Count(o.at("leases")), YesNo(o.at("pinned"))});
    }
    std::string out = table.Text();
    if (json.at("next").get<uint64_t>() != 0)
      absl::StrAppend(&out, "... and more: raise --limit, or go on with --from ",
                      json.at("next").get<uint64_t>(), "\n");
    return out;
  });
}

absl::StatusOr<std::string> RenderInspect(absl::string_view text) {
  return Render(text, [](const Json& json) {
    std::string out;
    for (const Json& o : json.at("objects")) {
      if (!out.empty()) out += "\n";
      Line(&out, "object",
           absl::StrCat(o.at("id").get<uint64_t>(), " (", String(o.at("kind")), ", ",
                        Bytes(o.at("bytes")), ")"));
      for (const char* key : {"content", "context", "parent_context", "model_name", "model",
                              "tenant", "encoding", "arithmetic", "lineage", "where"})
        Line(&out, key, OrNone(String(o.at(key))));
      for (const char* key : {"previous_state", "tails"}) {  // of state
        if (o.contains(key)) Line(&out, key, String(o.at(key)));
      }
      Line(&out, "position", Count(o.at("base_position")));
      Line(&out, "leases", Count(o.at("leases")));
      Line(&out, "pinned", YesNo(o.at("pinned")));
      const Json& ids = o.at("token_ids");
      std::string tokens = absl::StrCat(Count(o.at("tokens")), ":");
      for (size_t i = 0; i < std::min(ids.size(), kShownTokens); ++i)
        absl::StrAppend(&tokens, " ", ids[i].get<uint32_t>());
      if (ids.size() > kShownTokens) tokens += " ...";
      Line(&out, "tokens", tokens);
    }
    return out;
  });
}

absl::StatusOr<std::string> RenderVerify(absl::string_view text) {
  return Render(text, [](const Json& json) {
    std::string out = absl::StrCat(
        "checked ", Count(json.at("checked")), " objects: ", Count(json.at("records_read")),
        " records read from disk, ", Count(json.at("compared_with_memory")),
        " compared with memory, ", Count(json.at("memory_only")), " in memory only\n");
    absl::StrAppend(&out, "invariants: ", String(json.at("invariants")), "\n");
    const Json& wrong = json.at("wrong");
    absl::StrAppend(&out, "wrong: ", wrong.size(), "\n");
    if (wrong.empty()) return out;
    Table table({"CONTENT", "CONTEXT", "ERROR"});
    for (const Json& w : wrong)
      table.Row({String(w.at("content")), String(w.at("context")), String(w.at("error"))});
    return out + table.Text();
  });
}

absl::StatusOr<std::string> RenderFlush(absl::string_view text) {
  return Render(text, [](const Json& json) {
    std::string out = absl::StrCat("wrote ", Count(json.at("flushed_objects")), " objects (",
                                   Bytes(json.at("flushed_bytes")), ") to disk\n");
    if (json.at("dirty_bytes_left").get<uint64_t>() > 0)
      absl::StrAppend(&out, Bytes(json.at("dirty_bytes_left")), " are still in memory only",
                      String(json.at("error")).empty() ? "" : ": ", String(json.at("error")), "\n");
    return out;
  });
}

absl::StatusOr<std::string> RenderCount(absl::string_view text, absl::string_view what) {
  return Render(text, [&](const Json& json) {
    const auto count = json.at(std::string(what)).get<uint64_t>();
    return absl::StrCat(what, " ", base::FormatCount(count),
                        count == 1 ? " object\n" : " objects\n");
  });
}

absl::StatusOr<std::string> RenderEvict(absl::string_view text) {
  absl::StatusOr<std::string> out = RenderCount(text, "evicted");
  CISTERN_RETURN_IF_ERROR(out.status());
  CISTERN_ASSIGN_OR_RETURN(
      const std::string kept, Render(text, [](const Json& json) -> std::string {
        if (json.at("kept").get<uint64_t>() == 0) return "";
        return absl::StrCat("kept ", Count(json.at("kept")), ": ", Count(json.at("kept_pinned")),
                            " pinned, ", Count(json.at("kept_leased")), " leased\n");
      }));
  return *out + kept;
}

}  // namespace cistern::tools
