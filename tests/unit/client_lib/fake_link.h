// A Link to a FakeNode: calls wait in a queue and are answered in order on a thread, as over a
// socket.
#pragma once

#include <deque>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "tests/unit/client_lib/fake_node.h"
#include "transport/link.h"

namespace cistern::testing {

class FakeLink final : public transport::Link {
 public:
  explicit FakeLink(std::shared_ptr<FakeNode> node);
  ~FakeLink() override;

  void Call(Request request, transport::CallOptions options, transport::Completion done) override;
  bool follows() const override { return node_->follows; }
  // Answered like another call, once all of the payload is there.
  std::unique_ptr<transport::PayloadFill> CallAhead(Request request, transport::CallOptions options,
                                                    transport::Completion done) override;
  absl::StatusOr<std::unique_ptr<transport::Buffer>> Allocate(size_t bytes) override;
  const std::byte* arena() const override { return node_->arena(); }
  const transport::HelloReply& node() const override { return node_->hello(); }
  bool alive() const override;

 private:
  struct Item {
    Request request;
    transport::CallOptions options;
    transport::Completion done;
    absl::Time deadline;
  };
  void Run();
  // Answers what waits behind the gate, if it may go or has waited too long.
  void LookAtParked();
  void Answer(Item item);

  const std::shared_ptr<FakeNode> node_;
  const uint64_t killed_before_;
  mutable base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<Item> queue_;
  std::deque<Item> parked_;  // the thread's own
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace cistern::testing
