// Links on one host: what a call costs, and how fast payloads go when they are not read in place.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"

#include "tests/unit/transport/sample_messages.h"
#include "transport/checksum.h"
#include "transport/link.h"
#include "transport/local/in_process.h"
#include "transport/service.h"
#include "transport/wire/codec.h"

namespace cistern::transport {
namespace {

// Answers at once; a Read sends the same bytes again and again.
class QuickService final : public Service {
 public:
  explicit QuickService(size_t payload_bytes)
      : payload_(payload_bytes, std::byte{7}), checksum_(PayloadChecksum({Slice(payload_)})) {}
  void OnOpen(SessionId, const SessionInfo&) override {}
  void OnClose(SessionId) override {}
  void OnCall(std::unique_ptr<ServerCall> call) override {
    if (const auto* find = std::get_if<FindRequest>(&call->request())) {
      FindReply reply;
      reply.results.resize(find->items.size());
      call->Reply(std::move(reply));
    } else if (std::holds_alternative<ReadRequest>(call->request())) {
      call->Reply(ReadReply{payload_.size(), checksum_}, {Slice(payload_)}, nullptr);
    } else {
      call->Reply(AdminReply{"{}"});
    }
  }

 private:
  const std::vector<std::byte> payload_;
  const uint64_t checksum_;
};

// A node and a link to it: 0 = unix socket, 1 = in process.
struct Rig {
  Rig(int64_t carrier, size_t payload_bytes) : service(payload_bytes) {
    if (carrier == 0) {
      std::string directory = std::filesystem::temp_directory_path() / "cistern-bench-XXXXXX";
      path = mkdtemp(directory.data());
      server = std::move(StartServer({.unix_path = path + "/s", .lanes = 1}, &service)).value();
      link = std::move(Connect(absl::StrCat("unix:", path, "/s"), {})).value();
    } else {
      auto local = std::move(StartInProcess({.lanes = 1}, &service)).value();
      link = std::move(local->Connect({})).value();
      server = std::move(local);
    }
  }
  ~Rig() {
    link.reset();
    server.reset();
    if (!path.empty()) std::filesystem::remove_all(path);
  }

  QuickService service;
  std::string path;
  std::unique_ptr<Server> server;
  std::unique_ptr<Link> link;
};

void BM_Call(benchmark::State& state) {
  Rig rig(state.range(0), 0);
  for (auto _ : state) {
    if (!CallAndWait(*rig.link, AdminRequest{}).ok()) state.SkipWithError("the call failed");
  }
}
BENCHMARK(BM_Call)->ArgName("carrier")->Arg(0)->Arg(1)->UseRealTime();

void BM_Find64(benchmark::State& state) {
  Rig rig(state.range(0), 0);
  FindRequest find;
  find.items.resize(64);
  for (auto _ : state) {
    if (!CallAndWait(*rig.link, find).ok()) state.SkipWithError("the call failed");
  }
}
BENCHMARK(BM_Find64)->ArgName("carrier")->Arg(0)->Arg(1)->UseRealTime();

void BM_Read(benchmark::State& state) {
  const size_t bytes = state.range(1);
  Rig rig(state.range(0), bytes);
  auto buffer = std::move(rig.link->Allocate(bytes)).value();
  for (auto _ : state) {
    if (!CallAndWait(*rig.link, ReadRequest{}, {.receive = {buffer->bytes()}}).ok()) {
      state.SkipWithError("the call failed");
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
}
BENCHMARK(BM_Read)
    ->ArgNames({"carrier", "bytes"})
    ->ArgsProduct({{0, 1}, {64 << 10, 2 << 20, 16 << 20}})
    ->UseRealTime();

void BM_EncodeDecodeFind64(benchmark::State& state) {
  FindRequest find;
  find.items.resize(64);
  const Request request = find;
  for (auto _ : state) {
    const std::string message = EncodeRequest({.call_id = 1}, request);
    benchmark::DoNotOptimize(DecodeRequest(std::as_bytes(std::span(message))));
  }
}
BENCHMARK(BM_EncodeDecodeFind64);

void BM_EncodeDecodeReserve64(benchmark::State& state) {
  const Request request = ReserveRequest{std::vector<base::ObjectHeader>(64, SampleSegment(128))};
  for (auto _ : state) {
    const std::string message = EncodeRequest({.call_id = 1}, request);
    benchmark::DoNotOptimize(DecodeRequest(std::as_bytes(std::span(message))));
  }
}
BENCHMARK(BM_EncodeDecodeReserve64);

}  // namespace
}  // namespace cistern::transport

BENCHMARK_MAIN();
