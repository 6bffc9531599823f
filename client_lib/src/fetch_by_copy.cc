// Rows that the node sends: Read calls in layer order, a few in flight, scattered from staging
// buffers.
#include "client_lib/src/fetch_by_copy.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"

#include "client_lib/src/fetch_run.h"

namespace cistern::client {
namespace {

using transport::ReadReply;
using transport::ReadRequest;

// Between two looks of a caller at whether he is still wanted.
constexpr absl::Duration kGlance = absl::Milliseconds(20);

absl::Status Outcome(ByCopy::Flight& flight) {
  auto reply = As<ReadReply>(flight.call->Take());
  if (!reply.ok()) return reply.status();
  if (reply->payload_bytes != flight.unit.bytes()) {
    return absl::InternalError("the node sent another number of bytes than was asked for");
  }
  return absl::OkStatus();
}

}  // namespace

// The node may still write into the buffers of what is in flight.
void ByCopy::Abandon() {
  for (Flight& flight : flying) {
    auto buffer = std::make_shared<Staging::Lent>(std::move(flight.buffer));
    flight.call->Abandon([buffer](const absl::StatusOr<transport::Reply>&) {});
  }
  flying.clear();
}

std::unique_ptr<ByCopy> FetchRun::StartByCopy(const std::vector<uint32_t>& objects, bool last,
                                              const UnitCut& cut) {
  const base::ModelSpec& spec = plan_.model->spec();
  auto pass = std::make_unique<ByCopy>();
  pass->objects = objects;
  pass->last = last;
  pass->cut = cut;
  // One is to find a buffer beside another.
  pass->cut.unit_bytes = std::min(cut.unit_bytes, plan_.session->staging().max_bytes() / 2);
  pass->tokens.reserve(objects.size());
  for (uint32_t object : objects) pass->tokens.push_back(plan_.objects[object].num_tokens);
  pass->units = CutIntoUnits(pass->tokens, spec.num_layers, spec.row_bytes, pass->cut);
  return pass;
}

// Asks for the next unit. False: no buffer is free now.
bool FetchRun::StartUnit(ByCopy* pass, bool patient) {
  Session& session = *plan_.session;
  const TransferUnit& unit = pass->units[pass->next];
  const bool may_wait = patient && pass->flying.empty();  // otherwise others of this pass end first
  auto buffer = may_wait ? session.staging().Take(unit.bytes(), state_.deadline())
                         : session.staging().TryTake(unit.bytes());
  if (!buffer.ok()) {
    if (!may_wait) return false;
    LoseUnit(*pass, unit);
    ++pass->next;
    return true;
  }
  ReadRequest request;
  request.layer_begin = unit.layer_begin;
  request.layer_end = unit.layer_end;
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    request.leases.push_back(plan_.objects[pass->objects[i]].lease);
  }
  transport::CallOptions options;
  options.deadline = session.CallDeadline(state_.deadline());
  options.receive = {buffer->bytes(unit.bytes())};
  auto call = PendingCall::Start(session.link(), std::move(request), std::move(options));
  pass->flying.push_back({unit, *std::move(buffer), std::move(call)});
  ++pass->next;
  return true;
}

void FetchRun::LoseUnit(const ByCopy& pass, const TransferUnit& unit) {
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) Lose(pass.objects[i]);
}

void FetchRun::FinishUnit(ByCopy* pass) {
  const base::ModelSpec& spec = plan_.model->spec();
  ByCopy::Flight flight = std::move(pass->flying.front());
  pass->flying.pop_front();
  const absl::Status outcome = Outcome(flight);
  if (absl::IsDataLoss(outcome)) ++counters_.checksum_failures;
  if (!state_.BeginStep()) return;
  const TransferUnit& unit = flight.unit;
  UnitRows<const std::byte> rows(unit, pass->tokens, spec.row_bytes,
                                 flight.buffer.bytes(unit.bytes()).data());
  if (!outcome.ok()) LoseUnit(*pass, unit);
  for (uint32_t i = unit.object_begin; i < unit.object_end; ++i) {
    const uint32_t object = pass->objects[i];
    if (outcome.ok()) MoveRows(object, rows.Next(), unit.layer_begin, unit.layer_end);
    if (unit.layer_end == spec.num_layers) SettleObject(object, /*mapped=*/false);
  }
  if (pass->last && unit.object_end == pass->objects.size()) Announce(unit.layer_end);
  state_.EndStep();
}

// A caller waits no longer than he wants it; a fetch thread, who is there for that, until the
// buffers are its own again.
bool FetchRun::AwaitUnit(const ByCopy& pass, bool patient) {
  PendingCall& call = *pass.flying.front().call;
  if (patient) {
    call.Wait();
    return true;
  }
  while (!call.WaitUntil(absl::Now() + kGlance)) {
    if (!state_.wanted()) return false;
  }
  return true;
}

bool FetchRun::MoveByCopy(ByCopy* pass, uint32_t layers, bool patient) {
  const Session& session = *plan_.session;
  while (pass->next < pass->units.size() || !pass->flying.empty()) {
    const bool more = pass->next < pass->units.size() && state_.wanted() && session.alive();
    // Who waits for some layers leaves the rest to others, and no buffer in flight.
    const bool his = patient || (more && pass->units[pass->next].layer_begin < layers);
    if (more && his && pass->flying.size() < pass->cut.in_flight && StartUnit(pass, patient))
      continue;
    if (pass->flying.empty()) {
      if (more) return false;  // not his, or there is no buffer: not for him to wait for
      break;                   // nobody wants the rest, or nobody sends it
    }
    if (AwaitUnit(*pass, patient)) {
      FinishUnit(pass);
    } else {
      pass->Abandon();
    }
  }
  // Said before the layers are announced.
  for (; pass->next < pass->units.size(); ++pass->next) LoseUnit(*pass, pass->units[pass->next]);
  return true;
}

}  // namespace cistern::client
