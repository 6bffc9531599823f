// GET beside fetch, SET beside publish.
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/peers/contest.h"
#include "tools/bench/peers/side_by_side.h"
#include "tools/bench/peers/value_layout.h"
#include "tools/bench/transfer/transfer_calls.h"

namespace cistern::tools {
namespace {

std::vector<std::string> Keys(uint32_t count) {
  std::vector<std::string> keys;
  keys.reserve(count);
  for (uint32_t i = 0; i < count; ++i) keys.push_back(absl::StrCat("cistern-bench:", i));
  return keys;
}

// What every side shares: sequence worker * operations + operation is an operation's.
struct Bout {
  const PeersOptions& options;
  const TransferShape& shape;
  Contest& contest;
  SideBySide what;
  PagedObjects sent, came;
  const std::vector<std::string> keys;

  Bout(const PeersOptions& options, const TransferShape& shape, uint32_t workers, Contest& contest)
      : options(options),
        shape(shape),
        contest(contest),
        what{.bytes = shape.bytes(),
             .workers = workers,
             .operations = PeerOperations(shape.bytes(), workers),
             .rounds = options.rounds},
        sent(shape.model, shape.tokens, workers * what.operations),
        came(shape.model, shape.tokens, workers * what.operations),
        keys(Keys(workers * what.operations)) {}

  uint32_t count() const { return sent.count(); }
  uint32_t Index(uint32_t worker, uint32_t operation) const {
    return worker * what.operations + operation;
  }

  void Compute(uint64_t seed) {
    for (uint32_t i = 0; i < count(); ++i) {
      sent.Draw(i, seed + i);
      sent.Compute(i);
      came.SetTokens(i, sent.tokens(i));
    }
  }

  absl::Status Set(PeerClient& peer, uint32_t i) const {
    return peer.Set(keys[i], what.bytes,
                    [this, i](std::byte* value) { GatherValue(sent, i, value); });
  }
  absl::Status Get(PeerClient& peer, uint32_t i) const {
    return peer.Get(keys[i], what.bytes,
                    [this, i](const std::byte* value) { ScatterValue(value, i, came); });
  }
  absl::Status DeleteAll(PeerClient& peer) const {
    for (const std::string& key : keys) CISTERN_RETURN_IF_ERROR(peer.Delete(key));
    return absl::OkStatus();
  }

  absl::Status Check(absl::string_view whose) {
    if (options.flip_a_byte)
      *came.Row(0, shape.model.num_layers - 1, shape.tokens - 1) ^= std::byte{1};
    uint64_t different = 0;
    for (uint32_t i = 0; i < count(); ++i) different += DifferentRows(came, sent, i);
    if (different == 0) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(different, " rows of ", shape.name, " from ", whose,
                                            " are not what was stored"));
  }

  absl::Status MeasureAndEmit(const char* op, CacheSweep& sweep, const EmitPeerLine& emit) {
    CISTERN_ASSIGN_OR_RETURN(const std::vector<double> gbps, MeasureSides(what, sweep));
    const std::vector<Contestant>& peers = contest.peers();
    for (size_t i = 0; i < peers.size(); ++i) {
      emit({.peer = PeerName(peers[i].kind),
            .op = op,
            .bytes = what.bytes,
            .connections = what.workers,
            .peer_gbps = gbps[i + 1],
            .ours_gbps = gbps[0],
            .over = contest.tcp() ? "tcp" : "unix"});
    }
    return absl::OkStatus();
  }
};

absl::Status FetchInto(Bout& bout, Client& client, Plan plan, const PagedCache& cache) {
  CISTERN_ASSIGN_OR_RETURN(const FetchResult result, FetchAll(client, std::move(plan), cache));
  const uint64_t mapped = bout.contest.tcp() ? 0 : bout.what.bytes;
  if (result.mapped_bytes == mapped) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("of ", bout.what.bytes, " bytes ", result.mapped_bytes, " were read in place"));
}

Side OurGet(Bout& bout, const std::vector<PagedCache>& caches, std::vector<Plan>& plans) {
  Side side;
  side.ready = [&]() -> absl::Status {
    bout.came.Wipe();
    if (!bout.options.plan_before) return absl::OkStatus();
    for (uint32_t i = 0; i < bout.count(); ++i) {
      Client& client = bout.contest.ours(i / bout.what.operations);
      CISTERN_ASSIGN_OR_RETURN(plans[i], PlanAll(client, bout.shape.model, bout.sent.tokens(i)));
    }
    return absl::OkStatus();
  };
  side.run = [&](uint32_t worker, uint32_t operation) -> absl::Status {
    const uint32_t i = bout.Index(worker, operation);
    Client& client = bout.contest.ours(worker);
    if (!bout.options.plan_before) {
      CISTERN_ASSIGN_OR_RETURN(plans[i], PlanAll(client, bout.shape.model, bout.sent.tokens(i)));
    }
    return FetchInto(bout, client, std::move(plans[i]), caches[i]);
  };
  side.check = [&] { return bout.Check("the node"); };
  return side;
}

Side PeerGet(Bout& bout, Contestant& peer) {
  Side side;
  side.ready = [&] {
    bout.came.Wipe();
    return absl::OkStatus();
  };
  side.run = [&](uint32_t worker, uint32_t operation) {
    return bout.Get(*peer.connections[worker], bout.Index(worker, operation));
  };
  side.check = [&] { return bout.Check(PeerName(peer.kind)); };
  return side;
}

Side OurSet(Bout& bout, const std::vector<RowSource>& rows) {
  Side side;
  side.run = [&](uint32_t worker, uint32_t operation) {
    const uint32_t i = bout.Index(worker, operation);
    return PublishAll(bout.contest.ours(worker), bout.sent, i, rows[i]);
  };
  side.check = [&]() -> absl::Status {
    bout.came.Wipe();
    Client& client = bout.contest.ours(0);
    for (uint32_t i = 0; i < bout.count(); ++i) {
      CISTERN_ASSIGN_OR_RETURN(Plan plan, PlanAll(client, bout.shape.model, bout.sent.tokens(i)));
      CISTERN_RETURN_IF_ERROR(FetchAll(client, std::move(plan), bout.came.Cache(i)).status());
    }
    CISTERN_RETURN_IF_ERROR(EvictModel(bout.contest.admin(), bout.shape.model));
    return bout.Check("the node");
  };
  return side;
}

Side PeerSet(Bout& bout, Contestant& peer) {
  Side side;
  side.run = [&](uint32_t worker, uint32_t operation) {
    return bout.Set(*peer.connections[worker], bout.Index(worker, operation));
  };
  side.check = [&]() -> absl::Status {
    bout.came.Wipe();
    PeerClient& client = *peer.connections[0];
    for (uint32_t i = 0; i < bout.count(); ++i) CISTERN_RETURN_IF_ERROR(bout.Get(client, i));
    CISTERN_RETURN_IF_ERROR(bout.DeleteAll(client));
    return bout.Check(PeerName(peer.kind));
  };
  return side;
}

}  // namespace

absl::Status MeasureGet(const PeersOptions& options, const TransferShape& shape, uint32_t workers,
                        Contest& contest, CacheSweep& sweep, const EmitPeerLine& emit) {
  Bout bout(options, shape, workers, contest);
  bout.Compute(1);
  std::vector<PagedCache> caches;
  caches.reserve(bout.count());
  for (uint32_t i = 0; i < bout.count(); ++i) {
    caches.push_back(bout.came.Cache(i));
    CISTERN_RETURN_IF_ERROR(PublishAll(contest.ours(0), bout.sent, i, bout.sent.Source(i)));
    for (Contestant& peer : contest.peers())
      CISTERN_RETURN_IF_ERROR(bout.Set(*peer.connections[0], i));
  }
  std::vector<Plan> plans(bout.count());
  bout.what.sides.push_back(OurGet(bout, caches, plans));
  for (Contestant& peer : contest.peers()) bout.what.sides.push_back(PeerGet(bout, peer));
  CISTERN_RETURN_IF_ERROR(bout.MeasureAndEmit("GET", sweep, emit));
  for (Contestant& peer : contest.peers())
    CISTERN_RETURN_IF_ERROR(bout.DeleteAll(*peer.connections[0]));
  return EvictModel(contest.admin(), shape.model);
}

absl::Status MeasureSet(const PeersOptions& options, const TransferShape& shape, uint32_t workers,
                        Contest& contest, CacheSweep& sweep, const EmitPeerLine& emit) {
  Bout bout(options, shape, workers, contest);
  std::vector<RowSource> rows;
  rows.reserve(bout.count());
  for (uint32_t i = 0; i < bout.count(); ++i) rows.push_back(bout.sent.Source(i));
  uint64_t seed = 1ull << 40;  // text that nobody had before
  bout.what.prepare = [&] {
    bout.Compute(seed);
    seed += bout.count();
    return absl::OkStatus();
  };
  bout.what.sides.push_back(OurSet(bout, rows));
  for (Contestant& peer : contest.peers()) bout.what.sides.push_back(PeerSet(bout, peer));
  return bout.MeasureAndEmit("SET", sweep, emit);
}

}  // namespace cistern::tools
