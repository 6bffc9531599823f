#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include "transport/link.h"
#include "transport/shm/unix_link.h"
#ifdef CISTERN_HAVE_UCX
#include "transport/ucx/ucx_link.h"
#endif

namespace cistern::transport {

absl::StatusOr<std::unique_ptr<Link>> Connect(absl::string_view address,
                                              const LinkOptions& options) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "unix:")) return ConnectUnix(std::string(rest), options);
  if (rest.rfind(':') == absl::string_view::npos || rest.front() == ':' || rest.back() == ':') {
    return absl::InvalidArgumentError(absl::StrCat("'", address,
                                                   "' is not an address of a node: write ",
                                                   "unix:/path/to/socket or host:port"));
  }
#ifdef CISTERN_HAVE_UCX
  return ConnectUcx(address, options);
#else
  return absl::UnimplementedError(
      "this binary was built without UCX; connect to a node on this host by unix:/path");
#endif
}

}  // namespace cistern::transport
