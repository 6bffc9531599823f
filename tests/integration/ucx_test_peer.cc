// The other process of the UCX tests, to be killed and stopped.
//
//   ucx_test_peer serve              listens, prints its address, serves until stdin ends
//   ucx_test_peer push ADDRESS       connects, prints "ready", then writes payloads for ever
//   ucx_test_peer pull ADDRESS       the same with reads
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <unistd.h>

#include "tests/integration/ucx_test_service.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {
namespace {

constexpr uint64_t kBytes = 64ull << 20;

int Serve() {
  UcxTestService service;
  ServerOptions options;
  options.ucx_address = "127.0.0.1:0";
  auto server = StartServer(options, &service);
  if (!server.ok()) {
    fprintf(stderr, "%s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  printf("%s\n", (*server)->ucx_address().c_str());
  fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}

int Use(const char* address, bool push) {
  auto link = Connect(address, {.client_name = "peer"});
  if (!link.ok()) {
    fprintf(stderr, "%s\n", std::string(link.status().message()).c_str());
    return 1;
  }
  auto buffer = (*link)->Allocate(kBytes);
  if (!buffer.ok()) return 1;
  const std::vector<Slice> payload = PatternPieces(kBytes, 0, 1);
  memcpy((*buffer)->bytes().data(), payload[0].data(), kBytes);
  printf("ready\n");
  fflush(stdout);
  while (true) {
    CallOptions options;
    options.deadline = absl::Seconds(60);
    absl::Status status;
    if (push) {
      options.send = {(*buffer)->bytes()};
      status = CallFor<WriteReply>(**link, WriteRequest{.reservations = {kBytes, 0, 1}}, options)
                   .status();
    } else {
      options.receive = {(*buffer)->bytes()};
      status = CallFor<ReadReply>(**link, ReadRequest{.leases = {kBytes, 0, 1}}, options).status();
    }
    if (!status.ok()) return 1;
  }
}

}  // namespace
}  // namespace cistern::transport

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "serve") return cistern::transport::Serve();
  if ((mode == "push" || mode == "pull") && argc > 2) {
    return cistern::transport::Use(argv[2], mode == "push");
  }
  fprintf(stderr, "usage: ucx_test_peer serve | push ADDRESS | pull ADDRESS\n");
  return 2;
}
