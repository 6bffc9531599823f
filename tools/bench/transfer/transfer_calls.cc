#include "tools/bench/transfer/transfer_calls.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace cistern::tools {

absl::StatusOr<Plan> PlanAll(Client& client, const base::ModelSpec& model,
                             const std::vector<base::TokenId>& tokens) {
  PlanPolicy policy;
  policy.min_span_tokens = 1;
  policy.compute_last_token = false;
  policy.deadline = absl::Seconds(5);
  CISTERN_ASSIGN_OR_RETURN(Plan plan, client.MakePlan(model, tokens, policy));
  if (plan.stats().exact_tokens != tokens.size()) {
    return absl::UnavailableError(absl::StrCat("the node has ", plan.stats().exact_tokens, " of ",
                                               tokens.size(), " tokens that were published"));
  }
  return plan;
}

absl::StatusOr<FetchResult> FetchAll(Client& client, Plan plan, const PagedCache& into) {
  CISTERN_ASSIGN_OR_RETURN(FetchHandle handle, client.Fetch(std::move(plan), into));
  CISTERN_ASSIGN_OR_RETURN(FetchResult result, handle.Wait());
  if (!result.missing.empty()) return absl::UnavailableError("planned rows did not come");
  return result;
}

absl::Status PublishAll(Client& client, const PagedObjects& source, uint32_t i,
                        const RowSource& rows, std::span<const uint32_t> part_boundaries) {
  const std::vector<base::TokenId>& tokens = source.tokens(i);
  const TokenRange all{0, static_cast<uint32_t>(tokens.size())};
  CISTERN_ASSIGN_OR_RETURN(const PublishReport report,
                           client.Publish(source.spec(), tokens, {}, all, rows, part_boundaries));
  const uint64_t bytes = tokens.size() * source.spec().token_bytes();
  if (report.bytes == bytes) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the node took ", report.bytes, " of ", bytes, " bytes"));
}

absl::StatusOr<uint64_t> CheckAll(PagedObjects& objects, const TransferShape& shape, bool flip) {
  if (flip) *objects.Row(0, shape.model.num_layers - 1, shape.tokens - 1) ^= std::byte{1};
  uint64_t mismatches = 0;
  for (uint32_t i = 0; i < objects.count(); ++i) mismatches += objects.Mismatches(i);
  if (mismatches == 0) return objects.count() * shape.bytes();
  return absl::DataLossError(
      absl::StrCat(mismatches, " rows of ", shape.name, " are not what was published"));
}

absl::Status EvictModel(transport::Link& link, const base::ModelSpec& model) {
  transport::AdminRequest request;
  request.verb = transport::AdminVerb::kEvict;
  request.model = model.Fingerprint();
  return transport::CallFor<transport::AdminReply>(link, std::move(request)).status();
}

absl::StatusOr<std::string> UcxAddress(transport::Link& link) {
  CISTERN_ASSIGN_OR_RETURN(
      const transport::AdminReply status,
      transport::CallFor<transport::AdminReply>(link, transport::AdminRequest{}));
  const auto json = nlohmann::json::parse(status.json, nullptr, false);
  const auto node = json.is_object() ? json.find("node") : json.end();
  std::string address;
  if (node != json.end() && node->is_object()) address = node->value("ucx_address", "");
  if (address.empty()) return absl::InternalError("the node does not tell its UCX address");
  return address;
}

}  // namespace cistern::tools
