// Admin: who may ask for what, and on which thread it is answered.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

#include "cacheserver/service/admin_verbs.h"
#include "cacheserver/service/handlers.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using transport::AdminRequest;
using transport::AdminVerb;

// Figures about the node as a whole; everything else changes something or shows whose text is here.
bool IsHarmless(AdminVerb verb) { return verb == AdminVerb::kStatus || verb == AdminVerb::kModels; }

// Whoever can open the unix socket is trusted by its permissions; the network is not.
absl::Status CheckAllowed(const Parts& parts, transport::SessionId session, AdminVerb verb) {
  if (IsHarmless(verb) || parts.config->admin_over_network) return absl::OkStatus();
  const bool local = parts.store->With([&](storage::Store& store) {
    const transport::SessionInfo* info = parts.sessions->Info(store, session);
    return info != nullptr && !absl::StartsWith(info->peer, "ucx");
  });
  if (local) return absl::OkStatus();
  return absl::PermissionDeniedError(
      "this node takes such orders from its own host only: run cistern there, or start the node "
      "with --admin_over_network");
}

absl::StatusOr<std::string> Run(const Parts& parts, const AdminRequest& request,
                                absl::Time give_up) {
  switch (request.verb) {
    case AdminVerb::kStatus:
      return StatusJson(parts);
    case AdminVerb::kModels:
      return ModelsJson(parts);
    case AdminVerb::kList:
      return ListJson(parts, request);
    case AdminVerb::kInspect:
      return InspectJson(parts, request);
    case AdminVerb::kEvict:
      return EvictJson(parts, request);
    case AdminVerb::kPin:
    case AdminVerb::kUnpin:
      return PinJson(parts, request);
    case AdminVerb::kVerify:
      return VerifyJson(parts, request, give_up);
    case AdminVerb::kFlush:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("admin verb ", static_cast<int>(request.verb), " is not known to this node"));
}

void Flush(const Parts& parts, const CallPtr& call) {
  if (parts.disk == nullptr)
    return call->Fail(absl::FailedPreconditionError(
        "there is no disk tier to write to: start the node with --disk_path"));
  FlushTiers(*parts.demoter, parts.host == nullptr ? nullptr : parts.host->demoter(),
             call->answer_by(), [call](const FlushReport& report) {
               call->Answer(transport::AdminReply{FlushJson(report)});
             });
}

}  // namespace

std::string Text(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void HandleAdmin(const Parts& parts, const CallPtr& call) {
  const AdminVerb verb = call->request<AdminRequest>().verb;
  if (absl::Status allowed = CheckAllowed(parts, call->session(), verb); !allowed.ok())
    return call->Fail(allowed);
  if (verb == AdminVerb::kFlush) return Flush(parts, call);
  WorkPool* pool =
      verb == AdminVerb::kVerify && parts.disk_pool != nullptr ? parts.disk_pool : parts.copy_pool;
  const bool posted = pool->Post([&parts, call] {
    absl::StatusOr<std::string> json = Run(parts, call->request<AdminRequest>(), call->answer_by());
    if (!json.ok()) return call->Fail(json.status());
    call->Answer(transport::AdminReply{*std::move(json)});
  });
  if (!posted) call->Fail(absl::ResourceExhaustedError("the node is busy: try again"));
}

}  // namespace cistern::cacheserver
