#include <cstring>
#include <vector>

#include <hiredis/hiredis.h>
#include <sys/time.h>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/peers/peer_client.h"

namespace cistern::tools {
namespace {

struct FreeContext {
  void operator()(redisContext* context) const { redisFree(context); }
};
struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using Context = std::unique_ptr<redisContext, FreeContext>;
using Reply = std::unique_ptr<redisReply, FreeReply>;

absl::Status Gone(const redisContext& context) {
  return absl::UnavailableError(absl::StrCat("redis: ", context.errstr));
}

class RedisClient : public PeerClient {
 public:
  explicit RedisClient(Context context) : context_(std::move(context)) {
    context_->reader->maxbuf = 0;  // keep the buffer of large replies
  }

  absl::Status Set(absl::string_view key, uint64_t bytes, Fill fill) override {
    const std::string head =
        absl::StrCat("*3\r\n$3\r\nSET\r\n$", key.size(), "\r\n", key, "\r\n$", bytes, "\r\n");
    const size_t size = head.size() + bytes + 2;
    if (command_.size() < size) command_.resize(size);
    std::memcpy(command_.data(), head.data(), head.size());
    fill(command_.data() + head.size());
    std::memcpy(command_.data() + size - 2, "\r\n", 2);
    const auto* text = reinterpret_cast<const char*>(command_.data());
    if (redisAppendFormattedCommand(context_.get(), text, size) != REDIS_OK) return Gone(*context_);
    return NextReply(REDIS_REPLY_STATUS).status();
  }

  absl::Status Get(absl::string_view key, uint64_t bytes, Take take) override {
    redisAppendCommand(context_.get(), "GET %b", key.data(), key.size());
    CISTERN_ASSIGN_OR_RETURN(const Reply reply, NextReply(REDIS_REPLY_STRING));
    if (reply->len != bytes)
      return absl::DataLossError(
          absl::StrCat("redis: a value of ", reply->len, " bytes, not of ", bytes));
    take(reinterpret_cast<const std::byte*>(reply->str));
    return absl::OkStatus();
  }

  absl::Status Delete(absl::string_view key) override {
    redisAppendCommand(context_.get(), "DEL %b", key.data(), key.size());
    return NextReply(REDIS_REPLY_INTEGER).status();
  }

 private:
  absl::StatusOr<Reply> NextReply(int type) {
    void* raw = nullptr;
    if (redisGetReply(context_.get(), &raw) != REDIS_OK) return Gone(*context_);
    Reply reply(static_cast<redisReply*>(raw));
    if (reply->type == type) return reply;
    if (reply->type == REDIS_REPLY_NIL) return absl::NotFoundError("redis: no such value");
    if (reply->type == REDIS_REPLY_ERROR)
      return absl::FailedPreconditionError(absl::StrCat("redis: ", reply->str));
    return absl::InternalError("redis: a reply of another type than was expected");
  }

  const Context context_;
  std::vector<std::byte> command_;  // the last SET: as large as the largest
};

}  // namespace

absl::StatusOr<std::unique_ptr<PeerClient>> ConnectRedis(const PeerAddress& at) {
  const timeval patience = absl::ToTimeval(kPeerPatience);
  Context context(at.unix_path.empty()
                      ? redisConnectWithTimeout("127.0.0.1", at.port, patience)
                      : redisConnectUnixWithTimeout(at.unix_path.c_str(), patience));
  if (context == nullptr) return absl::UnavailableError("redis: no memory for a connection");
  if (context->err != 0 || redisSetTimeout(context.get(), patience) != REDIS_OK)
    return Gone(*context);
  return std::unique_ptr<PeerClient>(new RedisClient(std::move(context)));
}

}  // namespace cistern::tools
