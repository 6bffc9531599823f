// A worker that takes something from a node and holds it until it is killed.
//   node_worker ADDRESS reserve|lease
#include <cstdio>
#include <string>

#include <unistd.h>

#include "tests/integration/node_under_test.h"

using namespace cistern;  // NOLINT(google-build-using-namespace)

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  cacheserver::Worker worker(argv[1]);
  const base::ObjectHeader header = cacheserver::TestSegment(1);
  if (std::string(argv[2]) == "reserve") {
    const auto reserved = worker.Reserve(cacheserver::TestSegment(2, 64));
    if (!reserved.ok() || reserved->reservation == 0) return 1;
  } else {
    transport::FindRequest find;
    find.model = header.model;
    find.items = {{header.content, header.context, false}};
    const auto found = worker.Call<transport::FindReply>(find);
    if (!found.ok() || found->objects.size() != 1 || found->objects[0].lease == 0) return 1;
  }
  std::printf("holding\n");
  std::fflush(stdout);
  for (;;) pause();
}
