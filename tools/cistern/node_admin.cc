#include "tools/cistern/node_admin.h"

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<NodeAdmin>> NodeAdmin::Connect(const std::string& address,
                                                              absl::Duration deadline) {
  transport::LinkOptions options;
  options.client_name = "cistern";
  options.connect_timeout = deadline;
  options.want_mapping = false;
  absl::StatusOr<std::unique_ptr<transport::Link>> link = transport::Connect(address, options);
  if (absl::IsUnavailable(link.status()) || absl::IsDeadlineExceeded(link.status()))
    return absl::Status(
        link.status().code(),
        absl::StrCat("no node answers at ", address, " (", link.status().message(),
                     ")\nstart one with cistern-server, or say where it is with --address or "
                     "CISTERN_ADDRESS"));
  CISTERN_RETURN_IF_ERROR(link.status());
  return std::unique_ptr<NodeAdmin>(new NodeAdmin(*std::move(link), deadline));
}

absl::StatusOr<std::string> NodeAdmin::Ask(const transport::AdminRequest& request) {
  absl::StatusOr<transport::AdminReply> reply =
      transport::CallFor<transport::AdminReply>(*link_, request, {.deadline = deadline_});
  if (absl::IsDeadlineExceeded(reply.status()))
    return absl::DeadlineExceededError(absl::StrCat("the node did not answer within ",
                                                    absl::FormatDuration(deadline_),
                                                    ": give it longer with --deadline"));
  CISTERN_RETURN_IF_ERROR(reply.status());
  return std::move(reply->json);
}

}  // namespace cistern::tools
