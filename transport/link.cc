#include "transport/link.h"

#include <atomic>
#include <memory>
#include <optional>

#include "base/mutex.h"

namespace cistern::transport {

// NOLINTNEXTLINE(performance-unnecessary-value-param): others keep them
std::unique_ptr<PayloadFill> Link::CallAhead(Request /*request*/, CallOptions /*options*/,
                                             Completion done) {
  done(absl::UnimplementedError("this link does not go ahead of a payload"));
  return nullptr;
}

absl::StatusOr<Reply> CallAndWait(Link& link, Request request, CallOptions options) {
  struct State {
    base::Mutex mutex;
    base::CondVar answered;
    std::optional<absl::StatusOr<Reply>> reply;
    std::atomic<bool> there = false;
  };
  // Shared, because the completion may still be leaving notify_all when the waiter goes on.
  auto state = std::make_shared<State>();
  options.attended = true;
  link.Call(std::move(request), std::move(options), [state](absl::StatusOr<Reply> reply) {
    base::MutexLock lock(&state->mutex);
    state->reply = std::move(reply);
    state->there.store(true, std::memory_order_release);
    state->answered.notify_all();
  });
  link.Attend([&state] { return state->there.load(std::memory_order_acquire); },
              absl::InfiniteDuration());
  base::MutexLock lock(&state->mutex);
  state->answered.wait(state->mutex, [&] { return state->reply.has_value(); });
  return *std::move(state->reply);
}

}  // namespace cistern::transport
