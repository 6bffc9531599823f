#include "tests/integration/ucx_test_service.h"

#include <chrono>
#include <cstring>
#include <utility>
#include <variant>

#include <stdlib.h>

#include "absl/time/clock.h"

#include "transport/checksum.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kGap = 64;

uint64_t Flags(const std::vector<uint64_t>& words) { return words.size() > 3 ? words[3] : 0; }

template <typename S, typename B>
std::vector<S> Cut(B* base, uint64_t bytes, uint64_t pieces) {
  std::vector<S> slices;
  uint64_t left = bytes;
  for (uint64_t i = 0; i < pieces; ++i) {
    const uint64_t size = i + 1 == pieces ? left : bytes / pieces;
    slices.push_back(S(base, size));
    base += size + kGap;
    left -= size;
  }
  return slices;
}

bool Same(const std::vector<MutableSlice>& a, const std::vector<Slice>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    if (!a[i].empty() && memcmp(a[i].data(), b[i].data(), a[i].size()) != 0) return false;
  }
  return a.size() == b.size();
}

}  // namespace

const std::vector<std::byte>& Pattern() {
  static const std::vector<std::byte>* const pattern = [] {
    auto* bytes = new std::vector<std::byte>(kPatternBytes);
    for (uint64_t i = 0; i + 8 <= kPatternBytes; i += 8) {
      const uint64_t word = (i + 1) * 0x9e3779b97f4a7c15ull;
      memcpy(bytes->data() + i, &word, sizeof(word));
    }
    return bytes;
  }();
  return *pattern;
}

uint64_t PiecesSpan(uint64_t bytes, uint64_t pieces) { return bytes + pieces * kGap; }

std::vector<Slice> PatternPieces(uint64_t bytes, uint64_t offset, uint64_t pieces) {
  if (offset + PiecesSpan(bytes, pieces) > kPatternBytes) abort();
  return Cut<Slice>(Pattern().data() + offset, bytes, pieces);
}

std::vector<MutableSlice> BufferPieces(MutableSlice buffer, uint64_t bytes, uint64_t pieces) {
  if (PiecesSpan(bytes, pieces) > buffer.size()) abort();
  return Cut<MutableSlice>(buffer.data(), bytes, pieces);
}

UcxTestService::UcxTestService() {
  Pattern();
  other_thread_ = std::thread([this] {
    while (true) {
      std::vector<std::shared_ptr<ServerCall>> calls;
      {
        base::MutexLock lock(&mutex_);
        more_.wait(mutex_,
                   [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        calls.swap(queue_);
      }
      for (auto& call : calls) Handle(std::move(call));
    }
  });
}

UcxTestService::~UcxTestService() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    more_.notify_all();
  }
  other_thread_.join();
  DropSilent();
}

void UcxTestService::OnOpen(SessionId session, const SessionInfo& info) {
  base::MutexLock lock(&mutex_);
  if (!open_.insert(session).second) abort();
  last_peer_ = info.peer;
  ++opened_;
}

void UcxTestService::OnClose(SessionId session) {
  base::MutexLock lock(&mutex_);
  if (open_.erase(session) != 1) abort();  // closed twice, or never opened
  ++closed_;
}

std::string UcxTestService::last_peer() const {
  base::MutexLock lock(&mutex_);
  return last_peer_;
}

void UcxTestService::DropSilent() {
  std::vector<std::shared_ptr<ServerCall>> dropped;
  base::MutexLock lock(&mutex_);
  dropped.swap(silent_);
}

void UcxTestService::OnCall(std::unique_ptr<ServerCall> call) {
  uint64_t flags = 0;
  if (const auto* read = std::get_if<ReadRequest>(&call->request())) flags = Flags(read->leases);
  if (const auto* write = std::get_if<WriteRequest>(&call->request())) {
    flags = Flags(write->reservations);
  }
  if (const auto* admin = std::get_if<AdminRequest>(&call->request())) {
    if (admin->model_name == "silent") {
      base::MutexLock lock(&mutex_);
      silent_.push_back(std::move(call));
      return;
    }
    if (admin->model_name == "drop") return;
  }
  std::shared_ptr<ServerCall> shared = std::move(call);
  if ((flags & kFromOtherThread) == 0) {
    Handle(std::move(shared));
    return;
  }
  base::MutexLock lock(&mutex_);
  queue_.push_back(std::move(shared));
  more_.notify_all();
}

void UcxTestService::Handle(std::shared_ptr<ServerCall> call) {
  if (const auto* read = std::get_if<ReadRequest>(&call->request())) return Read(*call, *read);
  if (const auto* write = std::get_if<WriteRequest>(&call->request())) return Write(call, *write);
  if (const auto* find = std::get_if<FindRequest>(&call->request())) {
    FindReply reply;
    for (const FindItem& item : find->items) {
      FindResult& result = reply.results.emplace_back();
      result.match = item.accept_content ? Match::kContent : Match::kExact;
    }
    return call->Reply(std::move(reply));
  }
  call->Reply(AdminReply{"{}"});
}

void UcxTestService::Read(ServerCall& call, const ReadRequest& request) {
  const std::vector<Slice> payload =
      PatternPieces(request.leases[0], request.leases[1], request.leases[2]);
  ReadReply reply;
  reply.payload_bytes = TotalBytes(payload);
  reply.checksum = PayloadChecksum(payload);
  if ((Flags(request.leases) & kWrongChecksum) != 0) reply.checksum ^= 2;
  ++replies_;
  call.Reply(reply, payload, [this] { ++sent_; });
}

void UcxTestService::Write(const std::shared_ptr<ServerCall>& call, const WriteRequest& request) {
  const std::vector<uint64_t>& words = request.reservations;
  if ((Flags(words) & kKeepsTheCall) != 0) {
    base::MutexLock lock(&mutex_);
    silent_.push_back(call);
  }
  if ((Flags(words) & kTakesNothing) != 0) {
    return call->Fail(absl::FailedPreconditionError("it is not taken"));
  }
  auto memory = std::make_shared<std::vector<std::byte>>(PiecesSpan(words[0], words[2]));
  const std::vector<MutableSlice> into = BufferPieces(*memory, words[0], words[2]);
  ++receives_begun_;
  call->ReceivePayload(
      into, [this, call, memory, into, words, checksum = request.checksum](absl::Status status) {
        if (!status.ok()) {
          ++receives_failed_;
          return call->Fail(status);
        }
        ++receives_ok_;
        if (!Same(into, PatternPieces(words[0], words[1], words[2]))) {
          return call->Fail(absl::DataLossError("other bytes came than were sent"));
        }
        if (checksum != 0 && checksum != PayloadChecksum(into)) {
          return call->Fail(absl::DataLossError("the checksum does not match"));
        }
        call->Reply(WriteReply{});
      });
}

bool Await(const std::function<bool()>& done) {
  const absl::Time until = absl::Now() + absl::Seconds(20);
  while (!done()) {
    if (absl::Now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace cistern::transport
