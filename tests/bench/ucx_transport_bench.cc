// How fast payloads move over UCX, beside a plain blocking TCP socket in the same run.
//
//   ucx_transport_bench [--rounds=N] [--piece=BYTES] [--min=BYTES]
//
// A child process serves. Each size is measured in rounds, all ways in turn, so that a noisy
// machine is noisy for all of them; the table gives the median over all calls of all rounds. One
// call at a time: what one fetch or one publish takes, its round trip included. `--piece` cuts the
// node's memory into pieces of that size (a page's rows of one layer: 18432).
//
//   fetch, publish     Read and Write calls, checksums off
//   fetch+sum          the node computes the checksum of each reply, the link verifies it
//   tcp fetch, publish the same bytes by send and recv on blocking sockets, a 16-byte request first
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

#include "transport/checksum.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kMaxBytes = 64ull << 20;
constexpr uint64_t kSizes[] = {64, 4096, 65536, 262144, 1 << 20, 4 << 20, 16 << 20, kMaxBytes};

struct TcpRequest {
  uint64_t bytes = 0;
  uint64_t publish = 0;
};

[[noreturn]] void Die(const std::string& what) {
  fprintf(stderr, "ucx_transport_bench: %s\n", what.c_str());
  exit(1);
}

void SendAll(int fd, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
    if (sent <= 0) exit(0);  // the other end has finished
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
}

void ReceiveAll(int fd, void* data, size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t got = recv(fd, at, bytes, 0);
    if (got <= 0) exit(0);
    at += got;
    bytes -= static_cast<size_t>(got);
  }
}

// ---- The node

// Reads {bytes, piece, checksum}; Writes {bytes, piece}.
class BenchService final : public Service {
 public:
  explicit BenchService(MutableSlice arena) : arena_(arena) {}
  void OnOpen(SessionId, const SessionInfo&) override {}
  void OnClose(SessionId) override {}
  void OnCall(std::unique_ptr<ServerCall> call) override {
    if (const auto* read = std::get_if<ReadRequest>(&call->request())) {
      std::vector<Slice> payload;
      for (const MutableSlice& slice : Pieces(read->leases[0], read->leases[1])) {
        payload.push_back(slice);
      }
      ReadReply reply;
      reply.payload_bytes = read->leases[0];
      if (read->leases[2] != 0) reply.checksum = PayloadChecksum(payload);
      call->Reply(reply, std::move(payload), nullptr);
    } else if (const auto* write = std::get_if<WriteRequest>(&call->request())) {
      std::vector<MutableSlice> into = Pieces(write->reservations[0], write->reservations[1]);
      std::shared_ptr<ServerCall> shared = std::move(call);
      shared->ReceivePayload(std::move(into), [shared](absl::Status status) {
        if (!status.ok()) return shared->Fail(status);
        shared->Reply(WriteReply{});
      });
    }
  }

 private:
  // A gap after each piece, as between the layers of pages.
  std::vector<MutableSlice> Pieces(uint64_t bytes, uint64_t piece) const {
    std::vector<MutableSlice> pieces;
    uint64_t at = 0;
    while (bytes > 0) {
      const uint64_t size = std::min(bytes, piece);
      pieces.push_back(arena_.subspan(at, size));
      at += size + (piece < kMaxBytes ? 64 : 0);
      bytes -= size;
    }
    return pieces;
  }

  const MutableSlice arena_;
};

void ServeTcp(int listener, MutableSlice arena) {
  const int fd = accept(listener, nullptr, nullptr);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  while (true) {
    TcpRequest request;
    ReceiveAll(fd, &request, sizeof(request));
    if (request.publish != 0) {
      ReceiveAll(fd, arena.data(), request.bytes);
      SendAll(fd, &request, sizeof(request));
    } else {
      SendAll(fd, arena.data(), request.bytes);
    }
  }
}

void Serve(int out) {
  std::vector<std::byte> memory(kMaxBytes + kMaxBytes / 2, std::byte{7});
  BenchService service(memory);
  auto server = StartServer({.ucx_address = "127.0.0.1:0", .lanes = 1}, &service);
  if (!server.ok()) Die(std::string(server.status().message()));
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      listen(listener, 1) != 0) {
    Die("cannot listen");
  }
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes);
  const std::string line =
      absl::StrCat((*server)->ucx_address(), " ", ntohs(address.sin_port), "\n");
  SendAll(out, line.data(), line.size());
  ServeTcp(listener, memory);
}

// ---- The worker

class Bench {
 public:
  Bench(const std::string& ucx, uint16_t tcp_port) {
    auto link = Connect(ucx, {});
    if (!link.ok()) Die(std::string(link.status().message()));
    link_ = *std::move(link);
    auto buffer = link_->Allocate(kMaxBytes);
    if (!buffer.ok()) Die(std::string(buffer.status().message()));
    buffer_ = *std::move(buffer);
    tcp_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(tcp_port);
    if (connect(tcp_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      Die("cannot connect");
    }
    const int one = 1;
    setsockopt(tcp_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
  }
  ~Bench() { close(tcp_); }  // the child ends with it

  void Fetch(uint64_t bytes, uint64_t piece, bool checksum) {
    Check(CallFor<ReadReply>(*link_, ReadRequest{.leases = {bytes, piece, checksum}},
                             {.deadline = absl::Seconds(30), .receive = {Bytes(bytes)}})
              .status());
  }
  void Publish(uint64_t bytes, uint64_t piece) {
    Check(CallFor<WriteReply>(*link_, WriteRequest{.reservations = {bytes, piece}},
                              {.deadline = absl::Seconds(30), .send = {Bytes(bytes)}})
              .status());
  }
  void TcpFetch(uint64_t bytes) {
    const TcpRequest request = {.bytes = bytes, .publish = 0};
    SendAll(tcp_, &request, sizeof(request));
    ReceiveAll(tcp_, Bytes(bytes).data(), bytes);
  }
  void TcpPublish(uint64_t bytes) {
    TcpRequest request = {.bytes = bytes, .publish = 1};
    SendAll(tcp_, &request, sizeof(request));
    SendAll(tcp_, Bytes(bytes).data(), bytes);
    ReceiveAll(tcp_, &request, sizeof(request));
  }

 private:
  MutableSlice Bytes(uint64_t bytes) { return buffer_->bytes().first(bytes); }
  static void Check(const absl::Status& status) {
    if (!status.ok()) Die(std::string(status.message()));
  }

  std::unique_ptr<Link> link_;
  std::unique_ptr<Buffer> buffer_;
  int tcp_ = -1;
};

double Median(std::vector<double>& seconds) {
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

void Run(Bench& bench, int rounds, uint64_t piece, uint64_t min_bytes) {
  printf("%10s  %21s  %21s  %21s  %21s  %21s\n", "bytes", "fetch", "fetch+sum", "tcp fetch",
         "publish", "tcp publish");
  for (const uint64_t bytes : kSizes) {
    if (bytes < min_bytes) continue;
    const int calls = static_cast<int>(std::clamp<uint64_t>((16 << 20) / bytes, 2, 200));
    std::vector<double> seconds[5];
    for (int round = 0; round <= rounds; ++round) {
      for (int way = 0; way < 5; ++way) {
        for (int call = 0; call < calls; ++call) {
          const auto start = std::chrono::steady_clock::now();
          if (way == 0) bench.Fetch(bytes, piece, false);
          if (way == 1) bench.Fetch(bytes, piece, true);
          if (way == 2) bench.TcpFetch(bytes);
          if (way == 3) bench.Publish(bytes, piece);
          if (way == 4) bench.TcpPublish(bytes);
          const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
          if (round > 0) seconds[way].push_back(took.count());  // the first one warms up
        }
      }
    }
    printf("%10llu", static_cast<unsigned long long>(bytes));
    for (std::vector<double>& way : seconds) {
      const double median = Median(way);
      printf("  %8.1f us %5.2f GB/s", median * 1e6, static_cast<double>(bytes) / median / 1e9);
    }
    printf("\n");
    fflush(stdout);
  }
}

}  // namespace
}  // namespace cistern::transport

int main(int argc, char** argv) {
  using namespace cistern::transport;  // NOLINT: a main
  int rounds = 7;
  uint64_t piece = kMaxBytes;
  uint64_t min_bytes = 0;
  for (int i = 1; i < argc; ++i) {
    absl::string_view arg = argv[i];
    if (absl::ConsumePrefix(&arg, "--rounds=") && absl::SimpleAtoi(arg, &rounds)) continue;
    if (absl::ConsumePrefix(&arg, "--piece=") && absl::SimpleAtoi(arg, &piece)) continue;
    if (absl::ConsumePrefix(&arg, "--min=") && absl::SimpleAtoi(arg, &min_bytes)) continue;
    Die("usage: ucx_transport_bench [--rounds=N] [--piece=BYTES] [--min=BYTES]");
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) Die("socketpair");
  const pid_t child = fork();  // before UCX has any thread
  if (child == 0) {
    close(pair[0]);
    Serve(pair[1]);
    return 0;
  }
  close(pair[1]);
  std::string line;
  char c;
  while (read(pair[0], &c, 1) == 1 && c != '\n') line += c;
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  uint32_t port = 0;
  if (words.size() != 2 || !absl::SimpleAtoi(words[1], &port)) Die("the server did not start");
  {
    Bench bench(words[0], static_cast<uint16_t>(port));
    Run(bench, rounds, piece, min_bytes);
  }
  waitpid(child, nullptr, 0);
  return 0;
}
