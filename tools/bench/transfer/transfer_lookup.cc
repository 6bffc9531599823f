// Lookups: 64 stored chunks of one prompt found (and leased) by one call, one call at a time or
// several in flight.
#include <atomic>
#include <memory>
#include <mutex>
#include <semaphore>
#include <utility>

#include "absl/time/clock.h"

#include "base/model_presets.h"
#include "base/status_macros.h"
#include "tools/bench/transfer/transfer_run.h"

namespace cistern::tools {
namespace {

constexpr uint32_t kKeys = 64;
constexpr uint32_t kChunkTokens = 32;  // the shortest chunk
constexpr uint32_t kCalls = 128;       // in a round: 8192 leases
constexpr uint32_t kDeep = 16;
// For each one asked for: one takes milliseconds, and a scheduler needs longer to find each thread
// its processor.
constexpr uint32_t kRoundsOfLookups = 20;

struct Way {
  transport::Link* link;
  const char* over;
  bool lease;
  uint32_t in_flight;
};

// What the completions of one round leave behind.
struct Round {
  std::mutex mutex;
  std::vector<transport::LeaseId> leases;
  absl::Status status;
  Rounds* times = nullptr;
  std::counting_semaphore<kDeep> free{0};

  void Done(const absl::StatusOr<transport::Reply>& reply, bool lease, absl::Time start) {
    const absl::Duration took = absl::Now() - start;
    {
      const std::lock_guard<std::mutex> lock(mutex);
      if (times != nullptr) times->Add(0, took);
      status.Update(Take(reply, lease));
    }
    free.release();
  }

 private:
  absl::Status Take(const absl::StatusOr<transport::Reply>& reply, bool lease) {
    if (!reply.ok()) return reply.status();
    const auto* found = std::get_if<transport::FindReply>(&*reply);
    if (found == nullptr) return absl::InternalError("a lookup was answered by another reply");
    if (found->results.size() != kKeys || found->objects.size() != kKeys)
      return absl::DataLossError("a lookup answered another number of keys than were asked for");
    for (const transport::FindResult& result : found->results) {
      if (result.where != transport::Where::kMemory)
        return absl::DataLossError("a lookup missed a key that is stored");
    }
    for (const transport::ObjectRef& object : found->objects) {
      if (lease && object.lease == 0) return absl::DataLossError("a lookup gave no lease");
      if (lease) leases.push_back(object.lease);
    }
    return absl::OkStatus();
  }
};

// `kCalls` calls; how long all of them took.
absl::StatusOr<absl::Duration> RunRound(const transport::FindRequest& request, const Way& way,
                                        Rounds* times) {
  auto round = std::make_shared<Round>();
  round->times = times;
  round->leases.reserve(size_t{kCalls} * kKeys);
  round->free.release(way.in_flight);
  const absl::Time start = absl::Now();
  for (uint32_t i = 0; i < kCalls; ++i) {
    round->free.acquire();
    if (way.in_flight == 1) {  // as a plan does: its caller waits for it
      const absl::Time begun = absl::Now();
      round->Done(transport::CallAndWait(*way.link, request), way.lease, begun);
      continue;
    }
    way.link->Call(
        request, {},
        [round, lease = way.lease, begun = absl::Now()](
            const absl::StatusOr<transport::Reply>& reply) { round->Done(reply, lease, begun); });
  }
  for (uint32_t i = 0; i < way.in_flight; ++i) round->free.acquire();
  const absl::Duration took = absl::Now() - start;
  const std::lock_guard<std::mutex> lock(round->mutex);
  if (!round->leases.empty()) {
    round->status.Update(transport::CallFor<transport::ReleaseReply>(
                             *way.link, transport::ReleaseRequest{std::move(round->leases)})
                             .status());
  }
  if (!round->status.ok()) return round->status;
  return took;
}

absl::StatusOr<TransferLine> MeasureLookup(const transport::FindRequest& request, const Way& way,
                                           uint32_t rounds) {
  Rounds times;
  Samples rates;
  rounds *= kRoundsOfLookups;
  for (uint32_t round = 0; round <= rounds; ++round) {  // the first one warms up
    CISTERN_ASSIGN_OR_RETURN(const absl::Duration took,
                             RunRound(request, way, round > 0 ? &times : nullptr));
    if (round > 0) rates.Add(kCalls * kKeys / absl::ToDoubleSeconds(took));
  }
  return TransferLine{.path = "lookup",
                      .rounds = rounds,
                      .operations = uint64_t{rounds} * kCalls,
                      .p50_us = times.P50Us(),
                      .p99_us = times.P99Us(),
                      .keys = kKeys,
                      .keys_per_s = rates.Median(),
                      .over = way.over,
                      .lease = way.lease,
                      .in_flight = way.in_flight};
}

// Stores a prompt of kKeys chunks; the request that finds them.
absl::StatusOr<transport::FindRequest> StoreChunks(Client& client) {
  CISTERN_ASSIGN_OR_RETURN(base::ModelSpec model, base::ModelPreset("deepseek-v2-lite"));
  model = base::WithLayers(std::move(model), 1);
  model.revision += " lookups";
  model.boundary_tokens.clear();
  PagedObjects prompt(model, kKeys * kChunkTokens, 1);
  prompt.Draw(0, 1);
  prompt.Compute(0);
  std::vector<uint32_t> boundaries;
  boundaries.reserve(kKeys - 1);
  for (uint32_t i = 1; i < kKeys; ++i) boundaries.push_back(i * kChunkTokens);
  CISTERN_RETURN_IF_ERROR(PublishAll(client, prompt, 0, prompt.Source(0), boundaries));

  const base::KeySpace keys(model.Fingerprint(), "");
  transport::FindRequest request;
  request.model = model.Fingerprint();
  request.start_context = keys.ContextSeed();
  request.items.reserve(kKeys);
  base::Key context = keys.ContextSeed();
  for (uint32_t i = 0; i < kKeys; ++i) {
    const base::Key content =
        keys.Content(std::span(prompt.tokens(0)).subspan(size_t{i} * kChunkTokens, kChunkTokens));
    context = base::KeySpace::Context(context, content);
    request.items.push_back({.content = content, .context = context});
  }
  return request;
}

}  // namespace

absl::Status MeasureLookups(const TransferOptions& options, TransferPeers& peers,
                            const EmitLine& emit) {
  CISTERN_ASSIGN_OR_RETURN(transport::FindRequest request, StoreChunks(*peers.local));
  const Way ways[] = {{peers.raw.get(), "unix", true, 1},
                      {peers.raw.get(), "unix", true, kDeep},
                      {peers.raw.get(), "unix", false, 1},
                      {peers.raw_remote.get(), "tcp", true, 1},
                      {peers.raw_remote.get(), "tcp", true, kDeep}};
  for (const Way& way : ways) {
    request.lease = way.lease;
    CISTERN_ASSIGN_OR_RETURN(const TransferLine line, MeasureLookup(request, way, options.rounds));
    emit(line);
  }
  return absl::OkStatus();
}

}  // namespace cistern::tools
