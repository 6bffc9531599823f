// A worker that makes turns until it is killed, a line for each.
//   stuck_worker ADDRESS SEED
// Exit code 3: a row was wrong.
#include <cstdio>
#include <cstdlib>

#include "tests/fault/stuck/turns.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto client = cistern::Client::Connect(cistern::stuck::QuickOptions(argv[1]));
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
    return 1;
  }
  cistern::stuck::TurnWorker worker(std::strtoull(argv[2], nullptr, 10));
  for (;;) {
    const cistern::stuck::Turn turn = worker.Run(**client);
    std::printf("reused %u segments %llu\n", turn.reused,
                static_cast<unsigned long long>(turn.segments));
    std::fflush(stdout);
    if (turn.wrong_rows != 0) return 3;
  }
}
