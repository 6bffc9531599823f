// Rows that the node sends: Read calls in layer order, a few in flight, scattered from staging
// buffers.
#include <algorithm>
#include <deque>
#include <memory>
#include <utility>

#include "client_lib/src/fetch_run.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/transfer_units.h"

namespace cistern::client {
namespace {

using transport::ReadReply;
using transport::ReadRequest;

struct UnitInFlight {
  TransferUnit unit;
  Staging::Lent buffer;
  std::shared_ptr<PendingCall> call;
};

absl::Status Outcome(UnitInFlight& flight) {
  flight.call->Wait();
  auto reply = As<ReadReply>(flight.call->Take());
  if (!reply.ok()) return reply.status();
  if (reply->payload_bytes != flight.unit.bytes()) {
    return absl::InternalError("the node sent another number of bytes than was asked for");
  }
  return absl::OkStatus();
}

}  // namespace

void FetchRun::PassByCopy(const std::vector<uint32_t>& objects, bool last) {
  const base::ModelSpec& spec = plan_.model->spec();
  Session& session = *plan_.session;
  std::vector<uint32_t> tokens;
  tokens.reserve(objects.size());
  for (uint32_t object : objects) tokens.push_back(plan_.objects[object].num_tokens);
  const std::vector<TransferUnit> units = CutIntoUnits(tokens, spec.num_layers, spec.row_bytes);
  std::deque<UnitInFlight> flying;
  size_t next = 0;

  // Asks for the next unit. False: no buffer free now (others will be, when a unit of this fetch is
  // done).
  const auto start_next = [&] {
    const TransferUnit& unit = units[next];
    auto buffer = flying.empty() ? session.staging().Take(unit.bytes(), state_.deadline())
                                 : session.staging().TryTake(unit.bytes());
    if (!buffer.ok()) {
      if (!flying.empty()) return false;
      for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) Lose(objects[i]);
      ++next;
      return true;
    }
    ReadRequest request;
    request.layer_begin = unit.layer_begin;
    request.layer_end = unit.layer_end;
    for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
      request.leases.push_back(plan_.objects[objects[i]].lease);
    }
    transport::CallOptions options;
    options.deadline = session.CallDeadline(state_.deadline());
    options.receive = {buffer->bytes(unit.bytes())};
    auto call = PendingCall::Start(session.link(), std::move(request), std::move(options));
    flying.push_back({unit, *std::move(buffer), std::move(call)});
    ++next;
    return true;
  };

  const auto finish_oldest = [&] {
    UnitInFlight flight = std::move(flying.front());
    flying.pop_front();
    const absl::Status outcome = Outcome(flight);
    if (absl::IsDataLoss(outcome)) ++counters_.checksum_failures;
    if (!state_.BeginStep()) return;
    const TransferUnit& unit = flight.unit;
    UnitRows<const std::byte> rows(unit, tokens, spec.row_bytes,
                                   flight.buffer.bytes(unit.bytes()).data());
    for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
      if (outcome.ok()) {
        MoveRows(objects[i], rows.Next(), unit.layer_begin, unit.layer_end);
      } else {
        Lose(objects[i]);
      }
      if (unit.layer_end == spec.num_layers) SettleObject(objects[i], /*mapped=*/false);
    }
    if (last && unit.object_end == objects.size()) Announce(unit.layer_end);
    state_.EndStep();
  };

  while (next < units.size() || !flying.empty()) {
    const bool more = next < units.size() && state_.wanted() && session.alive();
    if (more && flying.size() < kUnitsInFlight && start_next()) continue;
    if (flying.empty()) break;  // nobody wants the rest, or nobody sends it
    finish_oldest();
  }
  for (; next < units.size(); ++next) {  // said before the layers are announced
    for (uint32_t i = units[next].object_begin; i < units[next].object_end; ++i) Lose(objects[i]);
  }
}

}  // namespace cistern::client
