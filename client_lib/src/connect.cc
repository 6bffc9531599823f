// How a client comes to its link. In a file of its own: what is linked over a given link needs no
// transport.
#include <memory>
#include <random>
#include <utility>

#include "absl/time/clock.h"

#include "base/clock.h"
#include "base/status_macros.h"
#include "cistern/client.h"
#include "client_lib/src/await_node.h"
#include "client_lib/src/client_impl.h"
#include "transport/link.h"

namespace cistern {

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  CISTERN_RETURN_IF_ERROR(client::ValidateOptions(options));
  transport::LinkOptions link_options;
  link_options.client_name = options.name;
  link_options.connect_timeout = options.connect_timeout;
  link_options.want_mapping = options.want_mapping;
  client::Connector connector = [address = options.address, link_options] {
    return transport::Connect(address, link_options);
  };
  const auto once = [&](absl::Duration timeout) {
    link_options.connect_timeout = timeout;
    return transport::Connect(options.address, link_options);
  };
  CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<transport::Link> link,
                           client::AwaitNode(options.connect_timeout, *base::Clock::Real(), once,
                                             [](absl::Duration pause) { absl::SleepFor(pause); }));
  return std::make_unique<client::ClientImpl>(std::move(link), std::move(connector), options,
                                              base::Clock::Real(), std::random_device()());
}

}  // namespace cistern
