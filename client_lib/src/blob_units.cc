#include "client_lib/src/blob_units.h"

#include <deque>
#include <utility>

namespace cistern::client {
namespace {

constexpr size_t kBlobsOfACall = 1024;  // far below what a message may name
constexpr size_t kCallsInFlight = 3;

BlobUnit UnitAt(const BlobBatch& batch, size_t begin) {
  BlobUnit unit{.begin = begin, .end = begin};
  do {
    unit.bytes += batch.bytes_of(unit.end++);
  } while (unit.end < batch.count && unit.end - begin < kBlobsOfACall &&
           unit.bytes + batch.bytes_of(unit.end) <= batch.unit_bytes);
  return unit;
}

}  // namespace

absl::Status RunUnits(const BlobBatch& batch, absl::Time until, Session& session) {
  absl::Status status;
  std::deque<BlobUnit> flying;
  size_t next = 0;
  // False: no buffer is free now; there will be, when a unit is done.
  const auto start_next = [&] {
    BlobUnit unit = UnitAt(batch, next);
    auto buffer = flying.empty() ? session.staging().Take(unit.bytes, until)
                                 : session.staging().TryTake(unit.bytes);
    if (!buffer.ok() && !flying.empty()) return false;
    next = unit.end;
    if (!buffer.ok()) {
      status.Update(buffer.status());
      return true;
    }
    unit.buffer = std::make_shared<Staging::Lent>(*std::move(buffer));
    unit.call = batch.start(unit);
    flying.push_back(std::move(unit));
    return true;
  };
  for (;;) {
    const bool more = next < batch.count && status.ok();
    if (more && flying.size() < kCallsInFlight && start_next()) continue;
    if (flying.empty()) return status;
    const BlobUnit unit = std::move(flying.front());
    flying.pop_front();
    status.Update(batch.finish(unit));
  }
}

}  // namespace cistern::client
