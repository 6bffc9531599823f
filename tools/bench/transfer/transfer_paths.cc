// Fetch and publish, within the host and over TCP.
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "tools/bench/transfer/compare.h"
#include "tools/bench/transfer/transfer_run.h"

namespace cistern::tools {
namespace {

// A copy of the same size in own memory, or the same bytes over plain TCP.
void SetLimit(RawTcp* tcp, bool towards_here, Ring& source, Ring& target, Comparison* what) {
  if (tcp == nullptr) {
    what->limit = [&source, &target](uint32_t) {
      const std::span<std::byte> from = source.Next(), to = target.Next();
      std::memcpy(to.data(), from.data(), from.size());
      asm volatile("" : : "r"(to.data()) : "memory");  // the copy is seen
      return absl::OkStatus();
    };
    return;
  }
  const auto next = [&target] { return target.Next(); };
  const uint32_t count = what->operations;
  const uint64_t bytes = what->bytes;
  if (towards_here) {
    what->limit = [tcp, &target](uint32_t) { return tcp->Fetch(target.Next()); };
    what->stream = [=] { return tcp->StreamHere(count, bytes, next); };
  } else {
    what->limit = [tcp, &target](uint32_t) { return tcp->Publish(target.Next()); };
    what->stream = [=] { return tcp->StreamAway(count, bytes, next); };
  }
}

const char* LimitName(bool tcp) { return tcp ? "tcp blocking" : "memcpy"; }

void Emit(const EmitLine& emit, const char* path, const TransferShape& shape, const char* limit,
          TransferLine line) {
  line.path = path;
  line.object = shape.name;
  line.limit = limit;
  emit(line);
}

// How long after the call the first layer is there, in rounds of its own: who stops for a layer
// lets the rest be moved by somebody else.
absl::StatusOr<double> FirstLayerP50Us(const Comparison& fetch, Client& client,
                                       std::vector<Plan>& plans,
                                       const std::vector<PagedCache>& caches, CacheSweep& sweep) {
  Rounds times;
  for (uint32_t round = 0; round < fetch.rounds; ++round) {
    CISTERN_RETURN_IF_ERROR(fetch.prepare());
    sweep.Sweep();
    for (uint32_t i = 0; i < fetch.operations; ++i) {
      const absl::Time start = absl::Now();
      CISTERN_ASSIGN_OR_RETURN(FetchHandle handle, client.Fetch(std::move(plans[i]), caches[i]));
      CISTERN_RETURN_IF_ERROR(handle.WaitLayer(0));
      times.Add(0, absl::Now() - start);
      CISTERN_RETURN_IF_ERROR(handle.Wait().status());
    }
    CISTERN_RETURN_IF_ERROR(fetch.check().status());
  }
  return times.P50Us();
}

}  // namespace

absl::Status MeasureFetch(const TransferOptions& options, const TransferShape& shape,
                          const PagedObjects& stored, TransferPeers& peers, bool tcp,
                          CacheSweep& sweep, const EmitLine& emit) {
  Client& client = tcp ? *peers.remote : *peers.local;
  Comparison what{.bytes = shape.bytes(), .operations = stored.count(), .rounds = options.rounds};
  PagedObjects into(shape.model, shape.tokens, stored.count());
  std::vector<PagedCache> caches;
  caches.reserve(stored.count());
  for (uint32_t i = 0; i < stored.count(); ++i) {
    into.SetTokens(i, stored.tokens(i));
    caches.push_back(into.Cache(i));
  }
  const uint64_t region = what.bytes * what.operations;
  Ring source(tcp ? 1 : region, tcp ? 1 : what.bytes), target(region, what.bytes);
  std::vector<Plan> plans(stored.count());
  Rounds planning;
  what.prepare = [&]() -> absl::Status {
    into.Wipe();
    for (uint32_t i = 0; i < stored.count(); ++i) {
      const absl::Time start = absl::Now();
      CISTERN_ASSIGN_OR_RETURN(plans[i], PlanAll(client, shape.model, stored.tokens(i)));
      planning.Add(0, absl::Now() - start);
    }
    return absl::OkStatus();
  };
  what.path = [&](uint32_t i) -> absl::Status {
    CISTERN_ASSIGN_OR_RETURN(const FetchResult result,
                             FetchAll(client, std::move(plans[i]), caches[i]));
    if (result.mapped_bytes == (tcp ? 0 : what.bytes)) return absl::OkStatus();
    return absl::InternalError(
        absl::StrCat("of ", what.bytes, " bytes ", result.mapped_bytes, " were read in place"));
  };
  SetLimit(tcp ? peers.tcp : nullptr, /*towards_here=*/true, source, target, &what);
  what.check = [&] { return CheckAll(into, shape, options.flip_a_byte); };
  CISTERN_ASSIGN_OR_RETURN(TransferLine line, Compare(what, sweep));
  line.plan_p50_us = planning.P50Us();
  if (const uint32_t layers = shape.model.num_layers; layers > 1) {
    CISTERN_ASSIGN_OR_RETURN(line.first_layer_p50_us,
                             FirstLayerP50Us(what, client, plans, caches, sweep));
    line.layer_us = static_cast<double>(what.bytes) / layers / (line.gbps * 1e3);
  }
  Emit(emit, tcp ? "tcp_fetch" : "fetch", shape, LimitName(tcp), std::move(line));
  return absl::OkStatus();
}

absl::Status MeasurePublish(const TransferOptions& options, const TransferShape& shape,
                            TransferPeers& peers, bool tcp, CacheSweep& sweep,
                            const EmitLine& emit) {
  Client& client = tcp ? *peers.remote : *peers.local;
  Comparison what{
      .bytes = shape.bytes(), .operations = OperationsFor(shape.bytes()), .rounds = options.rounds};
  TransferShape fresh = shape;  // a model of its own: its objects are evicted after each round
  absl::StrAppend(&fresh.model.revision, tcp ? " published by tcp" : " published");
  PagedObjects from(fresh.model, shape.tokens, what.operations),
      back(fresh.model, shape.tokens, what.operations);
  std::vector<RowSource> rows;
  rows.reserve(what.operations);
  for (uint32_t i = 0; i < what.operations; ++i) rows.push_back(from.Source(i));
  const uint64_t region = what.bytes * what.operations;
  Ring source(tcp ? 1 : region, tcp ? 1 : what.bytes), target(region, what.bytes);
  uint64_t seed = 1ull << 40;
  what.prepare = [&] {
    back.Wipe();
    for (uint32_t i = 0; i < what.operations; ++i) {
      from.Draw(i, ++seed);
      from.Compute(i);
      back.SetTokens(i, from.tokens(i));
    }
    return absl::OkStatus();
  };
  what.path = [&](uint32_t i) { return PublishAll(client, from, i, rows[i]); };
  SetLimit(tcp ? peers.tcp : nullptr, /*towards_here=*/false, source, target, &what);
  what.check = [&]() -> absl::StatusOr<uint64_t> {
    for (uint32_t i = 0; i < what.operations; ++i) {
      CISTERN_ASSIGN_OR_RETURN(Plan plan, PlanAll(*peers.local, fresh.model, back.tokens(i)));
      CISTERN_RETURN_IF_ERROR(FetchAll(*peers.local, std::move(plan), back.Cache(i)).status());
    }
    CISTERN_RETURN_IF_ERROR(EvictModel(*peers.raw, fresh.model));
    return CheckAll(back, fresh, options.flip_a_byte);
  };
  CISTERN_ASSIGN_OR_RETURN(TransferLine line, Compare(what, sweep));
  Emit(emit, tcp ? "tcp_publish" : "publish", shape, LimitName(tcp), std::move(line));
  return absl::OkStatus();
}

}  // namespace cistern::tools
