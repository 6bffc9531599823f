// How the report of a hybrid model's replay looks, for people and for programs.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/units.h"
#include "tools/bench/hybrid_replay.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

using base::FormatBytes;
using base::FormatCount;

double Ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::string Row(const HybridReport& r) {
  return absl::StrFormat("  %-10s %8.2f %% %8.2f %% %12s %11s %7s %12s %10.0f %8.3f\n", r.scheme,
                         100 * Ratio(r.recovered_tokens, r.prompt_tokens),
                         100 * Ratio(r.recovered_tokens, r.bound_tokens),
                         FormatBytes(r.bytes_stored), FormatCount(r.checkpoints_stored),
                         FormatCount(r.logs_stored), FormatBytes(r.state_bytes_moved),
                         Ratio(r.bytes_moved, r.recovered_tokens),
                         Ratio(r.folded_tokens, r.recovered_tokens));
}

std::string Verified(const HybridReport& r) {
  std::string out = absl::StrFormat(
      "  %-10s %s of %s rows mismatched, %s of %s states (largest relative L2 %.1e)", r.scheme,
      FormatCount(r.rows_mismatched), FormatCount(r.rows_verified),
      FormatCount(r.states_mismatched), FormatCount(r.states_verified), r.max_relative_l2);
  if (r.states_dropped != 0) absl::StrAppend(&out, "; dropped ", r.states_dropped, " states");
  if (r.failures() != 0) {
    absl::StrAppend(&out, "; failed: ", r.failed_plans, " plans, ", r.failed_fetches, " fetches, ",
                    r.failed_publishes, " publishes, the first: ", r.first_error);
  }
  return out + "\n";
}

}  // namespace

std::string ToTable(std::span<const HybridReport> reports) {
  if (reports.empty()) return "";
  const HybridReport& first = reports.front();
  std::string out = absl::StrFormat(
      "replay of %s: %s calls, model %s (%u layers with rows, %u with state)\n"
      "%s prompt tokens; resumed at any token, %.2f %% could be recovered\n\n"
      "  %-10s %10s %10s %12s %11s %7s %12s %10s %8s\n",
      first.workload, FormatCount(first.calls), first.model, first.row_layers, first.state_layers,
      FormatCount(first.prompt_tokens), 100 * Ratio(first.bound_tokens, first.prompt_tokens),
      "states", "recovered", "of bound", "stored", "checkpoints", "logs", "moved", "B/token",
      "folded");
  for (const HybridReport& report : reports) out += Row(report);
  out +=
      "\n  B/token: bytes moved, rows and state, for each token recovered; folded: tokens folded "
      "for each\n\n";
  for (const HybridReport& report : reports) out += Verified(report);
  return out;
}

std::string ToJson(const HybridReport& r) {
  const nlohmann::ordered_json j = {{"workload", r.workload},
                                    {"model", r.model},
                                    {"scheme", r.scheme},
                                    {"row_layers", r.row_layers},
                                    {"state_layers", r.state_layers},
                                    {"calls", r.calls},
                                    {"prompt_tokens", r.prompt_tokens},
                                    {"recovered_tokens", r.recovered_tokens},
                                    {"bound_tokens", r.bound_tokens},
                                    {"folded_tokens", r.folded_tokens},
                                    {"checkpoints_stored", r.checkpoints_stored},
                                    {"logs_stored", r.logs_stored},
                                    {"states_dropped", r.states_dropped},
                                    {"bytes_stored", r.bytes_stored},
                                    {"state_bytes_moved", r.state_bytes_moved},
                                    {"bytes_moved", r.bytes_moved},
                                    {"rows_verified", r.rows_verified},
                                    {"rows_mismatched", r.rows_mismatched},
                                    {"states_verified", r.states_verified},
                                    {"states_mismatched", r.states_mismatched},
                                    {"max_relative_l2", r.max_relative_l2},
                                    {"failed_plans", r.failed_plans},
                                    {"failed_fetches", r.failed_fetches},
                                    {"failed_publishes", r.failed_publishes},
                                    {"first_error", r.first_error}};
  return j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cistern::tools
