// A call without a connection: what the service does with it can be watched and staged.
#pragma once

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "base/mutex.h"
#include "transport/service.h"

namespace cistern::cacheserver {

// What became of a call. Outlives it.
class CallResult {
 public:
  bool answered() {
    base::MutexLock lock(&mutex_);
    return reply_.has_value();
  }
  // Waits for the answer; a test that gets none fails.
  transport::Reply Wait() {
    base::MutexLock lock(&mutex_);
    const bool came =
        changed_.wait_for(mutex_, std::chrono::seconds(30),
                          [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return reply_.has_value(); });
    EXPECT_TRUE(came) << "the call was never answered";
    return came ? *reply_ : transport::ErrorReply{};
  }
  template <typename T>
  T WaitFor() {
    transport::Reply reply = Wait();
    if (const auto* error = std::get_if<transport::ErrorReply>(&reply))
      ADD_FAILURE() << error->ToStatus();
    const T* typed = std::get_if<T>(&reply);
    return typed == nullptr ? T{} : *typed;
  }
  // OK when the answer was not an error.
  absl::Status WaitStatus() {
    const transport::Reply reply = Wait();
    const auto* error = std::get_if<transport::ErrorReply>(&reply);
    return error == nullptr ? absl::OkStatus() : error->ToStatus();
  }
  // The payload of the answer, as it lies in the node's memory now.
  std::vector<std::byte> Payload() {
    base::MutexLock lock(&mutex_);
    std::vector<std::byte> bytes;
    for (const transport::Slice& slice : payload_)
      bytes.insert(bytes.end(), slice.begin(), slice.end());
    return bytes;
  }
  // Tells the service that the payload has left; tests that hold it back call this themselves.
  void FinishSending() {
    absl::AnyInvocable<void()> sent;
    {
      base::MutexLock lock(&mutex_);
      sent = std::exchange(sent_, nullptr);
    }
    if (sent) sent();
  }

 private:
  friend class FakeCall;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<transport::Reply> reply_ ABSL_GUARDED_BY(mutex_);
  std::vector<transport::Slice> payload_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void()> sent_ ABSL_GUARDED_BY(mutex_);
};

struct FakeCallOptions {
  transport::SessionId session = 1;
  absl::Time deadline;
  std::vector<std::byte> payload;  // of the request
  absl::Status receive_status;     // what receiving it ends in
  bool hold_receive = false;       // the payload is on its way until FakePayload::Arrive
  bool hold_sent = false;          // the answer's payload leaves only by FinishSending
};

// A payload that arrives when the test says so.
class FakePayload {
 public:
  // Waits until the service has asked for it.
  void AwaitAsked() {
    base::MutexLock lock(&mutex_);
    EXPECT_TRUE(changed_.wait_for(mutex_, std::chrono::seconds(30),
                                  [this]()
                                      ABSL_NO_THREAD_SAFETY_ANALYSIS { return done_ != nullptr; }));
  }
  void Arrive() {
    absl::AnyInvocable<void(absl::Status)> done;
    absl::Status status;
    {
      base::MutexLock lock(&mutex_);
      size_t at = 0;
      for (transport::MutableSlice& slice : into_) {
        if (!status_.ok()) break;
        std::memcpy(slice.data(), bytes_.data() + at, slice.size());
        at += slice.size();
      }
      done = std::exchange(done_, nullptr);
      status = status_;
    }
    done(status);
  }

 private:
  friend class FakeCall;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::vector<std::byte> bytes_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::vector<transport::MutableSlice> into_ ABSL_GUARDED_BY(mutex_);
  absl::AnyInvocable<void(absl::Status)> done_ ABSL_GUARDED_BY(mutex_);
};

class FakeCall final : public transport::ServerCall {
 public:
  FakeCall(transport::Request request, FakeCallOptions options)
      : request_(std::move(request)),
        options_(std::move(options)),
        result_(std::make_shared<CallResult>()),
        payload_(std::make_shared<FakePayload>()) {}

  std::shared_ptr<CallResult> result() const { return result_; }
  std::shared_ptr<FakePayload> payload() const { return payload_; }

  transport::SessionId session() const override { return options_.session; }
  transport::Request& request() override { return request_; }
  uint64_t payload_bytes() const override { return options_.payload.size(); }
  absl::Time deadline() const override { return options_.deadline; }

  void ReceivePayload(std::vector<transport::MutableSlice> into,
                      absl::AnyInvocable<void(absl::Status)> done) override {
    EXPECT_EQ(transport::TotalBytes(into), options_.payload.size());
    {
      base::MutexLock lock(&payload_->mutex_);
      payload_->bytes_ = options_.payload;
      payload_->status_ = options_.receive_status;
      payload_->into_ = std::move(into);
      payload_->done_ = std::move(done);
      payload_->changed_.notify_all();
    }
    if (!options_.hold_receive) payload_->Arrive();
  }

  using ServerCall::Reply;
  void Reply(transport::Reply reply, std::vector<transport::Slice> payload,
             absl::AnyInvocable<void()> sent) override {
    {
      base::MutexLock lock(&result_->mutex_);
      EXPECT_FALSE(result_->reply_.has_value()) << "answered twice";
      result_->reply_ = std::move(reply);
      result_->payload_ = std::move(payload);
      result_->sent_ = std::move(sent);
      result_->changed_.notify_all();
    }
    if (!options_.hold_sent) result_->FinishSending();
  }

 private:
  transport::Request request_;
  const FakeCallOptions options_;
  const std::shared_ptr<CallResult> result_;
  const std::shared_ptr<FakePayload> payload_;
};

}  // namespace cistern::cacheserver
