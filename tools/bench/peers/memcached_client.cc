#include <vector>

#include <libmemcached/memcached.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/peers/peer_client.h"

namespace cistern::tools {
namespace {

struct FreeServers {
  void operator()(memcached_st* servers) const { memcached_free(servers); }
};
using Servers = std::unique_ptr<memcached_st, FreeServers>;

class MemcachedClient : public PeerClient {
 public:
  explicit MemcachedClient(Servers servers) : servers_(std::move(servers)) {
    memcached_result_create(servers_.get(), &result_);
  }
  ~MemcachedClient() override { memcached_result_free(&result_); }

  absl::Status Set(absl::string_view key, uint64_t bytes, Fill fill) override {
    if (value_.size() < bytes) value_.resize(bytes);
    fill(value_.data());
    return ToStatus(memcached_set(servers_.get(), key.data(), key.size(),
                                  reinterpret_cast<const char*>(value_.data()), bytes, 0, 0));
  }

  absl::Status Get(absl::string_view key, uint64_t bytes, Take take) override {
    const char* const keys[] = {key.data()};
    const size_t sizes[] = {key.size()};
    CISTERN_RETURN_IF_ERROR(ToStatus(memcached_mget(servers_.get(), keys, sizes, 1)));
    memcached_return_t answer = MEMCACHED_SUCCESS;
    if (memcached_fetch_result(servers_.get(), &result_, &answer) == nullptr)
      return answer == MEMCACHED_END ? absl::NotFoundError("memcached: no such value")
                                     : ToStatus(answer);
    const uint64_t came = memcached_result_length(&result_);
    if (came == bytes) take(reinterpret_cast<const std::byte*>(memcached_result_value(&result_)));
    // The reply's end must be read before the next call.
    memcached_result_free(memcached_fetch_result(servers_.get(), nullptr, &answer));
    if (came == bytes) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("memcached: a value of ", came, " bytes, not of ", bytes));
  }

  absl::Status Delete(absl::string_view key) override {
    return ToStatus(memcached_delete(servers_.get(), key.data(), key.size(), 0));
  }

 private:
  absl::Status ToStatus(memcached_return_t answer) const {
    if (answer == MEMCACHED_SUCCESS || answer == MEMCACHED_STORED) return absl::OkStatus();
    const std::string text =
        absl::StrCat("memcached: ", memcached_last_error_message(servers_.get()));
    switch (answer) {
      case MEMCACHED_NOTFOUND:
        return absl::NotFoundError(text);
      case MEMCACHED_E2BIG:
      case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
      case MEMCACHED_SERVER_ERROR:
        return absl::FailedPreconditionError(text);
      default:
        return absl::UnavailableError(text);
    }
  }

  const Servers servers_;
  memcached_result_st result_;
  std::vector<std::byte> value_;  // the last one set: as large as the largest
};

absl::Status Behave(memcached_st* servers, memcached_behavior_t behavior, uint64_t value) {
  if (memcached_behavior_set(servers, behavior, value) == MEMCACHED_SUCCESS)
    return absl::OkStatus();
  return absl::InternalError("memcached: the client library refuses a setting");
}

}  // namespace

// The text protocol on blocking sockets: what the library does unless told otherwise, and the
// quickest of its ways for small values.
absl::StatusOr<std::unique_ptr<PeerClient>> ConnectMemcached(const PeerAddress& at) {
  Servers servers(memcached_create(nullptr));
  if (servers == nullptr) return absl::UnavailableError("memcached: no memory for a connection");
  const auto patience = static_cast<uint64_t>(absl::ToInt64Milliseconds(kPeerPatience));
  CISTERN_RETURN_IF_ERROR(Behave(servers.get(), MEMCACHED_BEHAVIOR_TCP_NODELAY, 1));
  CISTERN_RETURN_IF_ERROR(Behave(servers.get(), MEMCACHED_BEHAVIOR_POLL_TIMEOUT, patience));
  const memcached_return_t added =
      at.unix_path.empty() ? memcached_server_add(servers.get(), "127.0.0.1", at.port)
                           : memcached_server_add_unix_socket(servers.get(), at.unix_path.c_str());
  if (added != MEMCACHED_SUCCESS) return absl::InternalError("memcached: no server was added");
  return std::unique_ptr<PeerClient>(new MemcachedClient(std::move(servers)));
}

}  // namespace cistern::tools
