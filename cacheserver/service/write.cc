// Write: a payload into reserved blocks.
#include <utility>

#include "cacheserver/service/handlers.h"
#include "cacheserver/service/write_job.h"

namespace cistern::cacheserver {

void HandleWrite(const Parts& parts, const CallPtr& call) {
  auto& request = call->request<transport::WriteRequest>();
  WriteOrder order{std::move(request.reservations),
                   {request.layer_begin, request.layer_end},
                   request.checksum,
                   request.commit};
  StartWrite(parts, call, std::move(order), [call](const absl::Status& status, uint32_t committed) {
    if (!status.ok()) return call->Fail(status);
    call->Answer(transport::WriteReply{committed});
  });
}

}  // namespace cistern::cacheserver
