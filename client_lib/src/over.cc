#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/status_macros.h"
#include "cistern/client.h"
#include "client_lib/src/client_impl.h"

namespace cistern {

absl::StatusOr<std::unique_ptr<Client>> Client::Over(std::unique_ptr<transport::Link> link,
                                                     const ClientOptions& options) {
  CISTERN_RETURN_IF_ERROR(client::ValidateOptions(options));
  if (link == nullptr) return absl::InvalidArgumentError("no link was given");
  return std::make_unique<client::ClientImpl>(std::move(link), nullptr, options,
                                              base::Clock::Real(), /*seed=*/0);
}

}  // namespace cistern
