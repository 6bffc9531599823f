// A worker of a hybrid model that shares rows, records its state, and holds still until it is
// killed: some of what it has recorded is not flushed.
//   hybrid_worker ADDRESS
#include <cstdio>

#include <unistd.h>

#include "cistern/state_recorder.h"
#include "tests/integration/hybrid_worker.h"

using namespace cistern;           // NOLINT(google-build-using-namespace)
using namespace cistern::testing;  // NOLINT(google-build-using-namespace)

namespace {

int Fail(const char* what, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", what, status.ToString().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const base::ModelSpec model = RecordedModel();
  const Tokens tokens = RecordedTokens();
  auto client = Client::Connect({.address = argv[1]});
  if (!client.ok()) return Fail("connect", client.status());

  tools::WorkerCache rows(model, kSequence);
  rows.Begin(tokens);
  rows.Compute({0, kSequence});
  const auto shared =
      (*client)->Publish(model, tokens, {}, {0, kSequence}, rows.Source(/*pre_rope=*/false));
  if (!shared.ok()) return Fail("publish", shared.status());

  const StateSequence sequence(model.state, tokens);
  auto recorder = StateRecorder::Create(client->get(), model, {}, {}, {}, sequence.constants(),
                                        {.policy = {.max_chain_tokens = 40}});
  if (!recorder.ok()) return Fail("record", recorder.status());
  for (uint32_t begin = 0; begin < kRecorded + kAppended; begin += 20) {
    const uint32_t end = std::min(begin + 20, kRecorded + kAppended);
    const absl::Status appended = (*recorder)->Append(std::span(tokens).subspan(begin, end - begin),
                                                      sequence.Log(begin, end));
    if (!appended.ok()) return Fail("append", appended);
    if (end > kRecorded) break;
    const auto flushed = (*recorder)->Flush();
    if (!flushed.ok()) return Fail("flush", flushed.status());
  }
  std::printf("holding\n");
  std::fflush(stdout);
  for (;;) pause();
}
