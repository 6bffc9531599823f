#include "tests/unit/transport/test_service.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "transport/checksum.h"

namespace cistern::transport {
namespace {

constexpr std::chrono::seconds kPatience(20);

template <typename Predicate>
bool Wait(base::CondVar& changed, base::Mutex& mutex, Predicate predicate) {
  return changed.wait_for(mutex, kPatience, predicate);
}

}  // namespace

std::vector<std::byte> Payload(uint64_t seed, size_t bytes) {
  std::vector<std::byte> payload(bytes);
  uint64_t x = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::byte& b : payload) {
    x = x * 6364136223846793005 + 1442695040888963407;
    b = static_cast<std::byte>(x >> 56);
  }
  return payload;
}

void TestService::Hold() {
  base::MutexLock lock(&mutex_);
  hold_ = true;
}

void TestService::Release() {
  std::vector<std::unique_ptr<ServerCall>> calls;
  {
    base::MutexLock lock(&mutex_);
    hold_ = false;
    calls.swap(held_);
  }
  for (auto& call : calls) Answer(std::move(call));
}

std::vector<std::unique_ptr<ServerCall>> TestService::TakeHeld() {
  base::MutexLock lock(&mutex_);
  return std::exchange(held_, {});
}

bool TestService::WaitForHeld(size_t count) {
  base::MutexLock lock(&mutex_);
  return Wait(changed_, mutex_,
              [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return held_.size() >= count; });
}

bool TestService::WaitForOpen(size_t count) {
  base::MutexLock lock(&mutex_);
  return Wait(changed_, mutex_,
              [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return open_ - closed_ == count; });
}

bool TestService::WaitForClosed(size_t count) {
  base::MutexLock lock(&mutex_);
  return Wait(changed_, mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return closed_ >= count; });
}

size_t TestService::opened() const {
  base::MutexLock lock(&mutex_);
  return open_;
}

size_t TestService::closed() const {
  base::MutexLock lock(&mutex_);
  return closed_;
}

SessionInfo TestService::last_info() const {
  base::MutexLock lock(&mutex_);
  return last_info_;
}

bool TestService::protocol_kept() const {
  base::MutexLock lock(&mutex_);
  return protocol_kept_;
}

void TestService::OnOpen(SessionId session, const SessionInfo& info) {
  base::MutexLock lock(&mutex_);
  protocol_kept_ &= sessions_.emplace(session, true).second;
  last_info_ = info;
  ++open_;
  changed_.notify_all();
}

void TestService::OnClose(SessionId session) {
  base::MutexLock lock(&mutex_);
  protocol_kept_ &= std::exchange(sessions_[session], false);
  ++closed_;
  changed_.notify_all();
}

void TestService::OnCall(std::unique_ptr<ServerCall> call) {
  {
    base::MutexLock lock(&mutex_);
    protocol_kept_ &= sessions_[call->session()];
    if (hold_) {
      held_.push_back(std::move(call));
      changed_.notify_all();
      return;
    }
  }
  Answer(std::move(call));
}

void TestService::Answer(std::unique_ptr<ServerCall> call) {
  if (auto* admin = std::get_if<AdminRequest>(&call->request())) {
    call->Reply(AdminReply{admin->model_name});
  } else if (auto* find = std::get_if<FindRequest>(&call->request())) {
    FindReply reply;
    reply.results.resize(find->items.size());
    call->Reply(std::move(reply));
  } else if (auto* read = std::get_if<ReadRequest>(&call->request())) {
    auto payload =
        std::make_shared<std::vector<std::byte>>(Payload(read->layer_begin, read->layer_end));
    // In three pieces that do not fall where the receiver's do.
    const Slice all(*payload);
    const std::vector<Slice> pieces = {all.first(all.size() / 3), {}, all.subspan(all.size() / 3)};
    call->Reply(ReadReply{payload->size(), PayloadChecksum(pieces)}, pieces, [payload] {});
  } else if (auto* write = std::get_if<WriteRequest>(&call->request())) {
    const uint64_t seed = write->checksum;
    auto into = std::make_shared<std::vector<std::byte>>(call->payload_bytes());
    const MutableSlice all(*into);
    const std::shared_ptr<ServerCall> shared = std::move(call);
    shared->ReceivePayload({all.first(all.size() / 2), all.subspan(all.size() / 2)},
                           [shared, into, seed](const absl::Status& status) {
                             if (!status.ok()) return shared->Fail(status);
                             if (*into != Payload(seed, into->size())) {
                               return shared->Fail(absl::DataLossError("other bytes came"));
                             }
                             shared->Reply(WriteReply());
                           });
  } else {
    call->Fail(absl::UnimplementedError("the test service does not know this call"));
  }
}

struct Results::Shared {
  base::Mutex mutex;
  base::CondVar changed;
  std::deque<std::optional<absl::StatusOr<Reply>>> results;
  size_t completed = 0;
  size_t completed_twice = 0;
};

std::shared_ptr<Results::Shared> Results::NewShared() { return std::make_shared<Shared>(); }

Completion Results::Next() {
  base::MutexLock lock(&shared_->mutex);
  const size_t index = shared_->results.size();
  shared_->results.emplace_back();
  return [shared = shared_, index](absl::StatusOr<Reply> reply) {
    base::MutexLock inner(&shared->mutex);
    if (shared->results[index].has_value()) {
      ++shared->completed_twice;
    } else {
      shared->results[index] = std::move(reply);
      ++shared->completed;
    }
    shared->changed.notify_all();
  };
}

bool Results::WaitForAll() {
  base::MutexLock lock(&shared_->mutex);
  return Wait(shared_->changed, shared_->mutex,
              [&] { return shared_->completed == shared_->results.size(); });
}

size_t Results::completed() const {
  base::MutexLock lock(&shared_->mutex);
  return shared_->completed;
}

const absl::StatusOr<Reply>& Results::at(size_t index) const {
  base::MutexLock lock(&shared_->mutex);
  return shared_->results[index].value();
}

size_t Results::completed_twice() const {
  base::MutexLock lock(&shared_->mutex);
  return shared_->completed_twice;
}

absl::StatusOr<std::string> Echo(Link& link, std::string text, absl::Duration deadline) {
  absl::StatusOr<AdminReply> reply = CallFor<AdminReply>(
      link, AdminRequest{.model_name = std::move(text)}, {.deadline = deadline});
  if (!reply.ok()) return reply.status();
  return reply->json;
}

absl::Status WritePayload(Link& link, const std::vector<std::vector<std::byte>>& pieces,
                          uint64_t seed) {
  CallOptions options;
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (const std::vector<std::byte>& piece : pieces) {
    auto buffer = link.Allocate(std::max<size_t>(piece.size(), 1));
    if (!buffer.ok()) return buffer.status();
    std::copy(piece.begin(), piece.end(), (*buffer)->bytes().begin());
    options.send.push_back((*buffer)->bytes().first(piece.size()));
    buffers.push_back(*std::move(buffer));
  }
  return CallFor<WriteReply>(link, WriteRequest{.reservations = {1}, .checksum = seed},
                             std::move(options))
      .status();
}

absl::StatusOr<std::vector<std::byte>> ReadPayload(Link& link, uint32_t seed, uint32_t bytes,
                                                   uint32_t pieces) {
  CallOptions options;
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (uint32_t i = 0; i < pieces; ++i) {
    const uint64_t begin = uint64_t{bytes} * i / pieces, end = uint64_t{bytes} * (i + 1) / pieces;
    auto buffer = link.Allocate(std::max<uint64_t>(end - begin, 1));
    if (!buffer.ok()) return buffer.status();
    options.receive.push_back((*buffer)->bytes().first(end - begin));
    buffers.push_back(*std::move(buffer));
  }
  const std::vector<MutableSlice> receive = options.receive;
  auto reply = CallFor<ReadReply>(link, ReadRequest{.layer_begin = seed, .layer_end = bytes},
                                  std::move(options));
  if (!reply.ok()) return reply.status();
  std::vector<std::byte> all;
  for (const MutableSlice& slice : receive) all.insert(all.end(), slice.begin(), slice.end());
  return all;
}

}  // namespace cistern::transport
