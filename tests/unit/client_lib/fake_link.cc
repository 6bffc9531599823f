#include "tests/unit/client_lib/fake_link.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

#include "transport/rpc/stream_copy.h"

namespace cistern::testing {
namespace {

class PlainBuffer final : public transport::Buffer {
 public:
  explicit PlainBuffer(size_t bytes) : bytes_(bytes) {}
  transport::MutableSlice bytes() override { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

// A call that waits for its payload, and copies it as it comes. Dropped before the link is.
class LateCall final : public transport::PayloadFill {
 public:
  using Call = absl::AnyInvocable<void(bool complete, std::vector<std::byte> payload)>;

  LateCall(const std::vector<transport::Slice>& from, Call call)
      : to_(transport::TotalBytes(from)),
        steps_(from, {transport::MutableSlice(to_)}),
        call_(std::move(call)) {}
  ~LateCall() override {
    if (call_ != nullptr) call_(false, {});
  }
  uint64_t Taken() override { return filled_; }
  void Filled(uint64_t bytes) override {
    EXPECT_GE(bytes, filled_);
    ASSERT_LE(bytes, to_.size());
    steps_.Copy(bytes - filled_);
    transport::StreamSteps::Fence();
    filled_ = bytes;
    if (filled_ == to_.size()) std::exchange(call_, nullptr)(true, std::move(to_));
  }

 private:
  std::vector<std::byte> to_;
  transport::StreamSteps steps_;  // into it
  uint64_t filled_ = 0;
  Call call_;
};

constexpr size_t kMaxQueued = 4096;

}  // namespace

FakeLink::FakeLink(std::shared_ptr<FakeNode> node)
    : node_(std::move(node)), killed_before_(node_->killed()), thread_([this] { Run(); }) {}

FakeLink::~FakeLink() {
  {
    base::MutexLock lock(&mutex_);
    closed_ = true;
    changed_.notify_all();
  }
  thread_.join();
  for (Item& item : queue_) item.done(absl::CancelledError("the link was closed"));
  for (Item& item : parked_) {
    if (item.done != nullptr) item.done(absl::CancelledError("the link was closed"));
  }
}

bool FakeLink::alive() const { return node_->killed() == killed_before_; }

absl::StatusOr<std::unique_ptr<transport::Buffer>> FakeLink::Allocate(size_t bytes) {
  return std::make_unique<PlainBuffer>(bytes);
}

void FakeLink::Call(Request request, transport::CallOptions options, transport::Completion done) {
  if (const auto hook = node_->called.get()) hook(request);
  Item item{std::move(request), std::move(options), std::move(done), {}};
  item.deadline = absl::Now() + item.options.deadline;
  base::MutexLock lock(&mutex_);
  queue_.push_back(std::move(item));
  changed_.notify_all();
}

std::unique_ptr<transport::PayloadFill> FakeLink::CallAhead(Request request,
                                                            transport::CallOptions options,
                                                            transport::Completion done) {
  ++node_->ahead;
  const std::vector<transport::Slice> from = options.send;
  return std::make_unique<LateCall>(
      from, [this, request = std::move(request), options = std::move(options),
             done = std::move(done)](bool complete, std::vector<std::byte> payload) mutable {
        if (!complete) return done(absl::UnavailableError("its payload never came"));
        auto kept = std::make_shared<std::vector<std::byte>>(std::move(payload));
        options.send = {transport::Slice(*kept)};
        Call(std::move(request), std::move(options),
             [kept, done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
               done(std::move(reply));
             });
      });
}

void FakeLink::Run() {
  for (;;) {
    Item item;
    {
      base::MutexLock lock(&mutex_);
      const auto something = [this] { return closed_ || !queue_.empty(); };
      if (parked_.empty()) {
        changed_.wait(mutex_, something);
      } else {
        changed_.wait_for(mutex_, std::chrono::milliseconds(1), something);
      }
      if (closed_) return;
      if (!queue_.empty()) {
        item = std::move(queue_.front());
        queue_.pop_front();
      }
    }
    LookAtParked();
    if (item.done == nullptr) continue;
    if (alive() && node_->StopsAtTheGate(item.request)) {
      parked_.push_back(std::move(item));
      node_->SetHeld();
    } else {
      Answer(std::move(item));
    }
  }
}

void FakeLink::LookAtParked() {
  std::deque<Item> still;
  for (Item& item : parked_) {
    if (!alive() || !node_->MustWait(item.request)) {
      Answer(std::move(item));
    } else if (item.done != nullptr && absl::Now() >= item.deadline) {
      std::exchange(item.done,
                    nullptr)(absl::DeadlineExceededError("the call's deadline has passed"));
      if (item.options.late) still.push_back(std::move(item));
    } else {
      still.push_back(std::move(item));
    }
  }
  parked_ = std::move(still);
}

void FakeLink::Answer(Item item) {
  if (item.done == nullptr) {
    if (alive()) item.options.late(node_->Serve(item.request, item.options));
    return;
  }
  if (!alive()) {
    item.done(absl::UnavailableError("the node has gone"));
    return;
  }
  Reply reply = node_->Serve(item.request, item.options);
  if (!alive()) {
    item.done(absl::UnavailableError("the node has gone"));
  } else if (auto* error = std::get_if<transport::ErrorReply>(&reply)) {
    item.done(error->ToStatus());
  } else {
    item.done(std::move(reply));
  }
}

}  // namespace cistern::testing
