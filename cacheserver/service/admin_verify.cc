// `verify`: every byte that has a checksum is read again; what lies in memory and on disk is
// compared; the store's invariants are checked.
#include <cstring>
#include <vector>

#include "base/status_macros.h"
#include "cacheserver/layout.h"
#include "cacheserver/service/admin_verbs.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using Json = nlohmann::ordered_json;

constexpr transport::SessionId kVerifySession = ~0ull;  // no server gives it out
constexpr uint64_t kMaxComparedBytes = 64ull << 20;     // of one object: they are read at once

struct Report {
  uint64_t checked = 0;
  uint64_t records_read = 0;
  uint64_t compared = 0;
  uint64_t memory_only = 0;
  Json wrong = Json::array();
};

void Complain(Report& report, const ListedObject& object, absl::string_view what) {
  report.wrong.push_back({{"id", object.id},
                          {"content", object.header.content.ToHex()},
                          {"context", object.header.context.ToHex()},
                          {"error", std::string(what)}});
}

// Memory against its record. NotFound: it has none. Aborted: it left memory just now.
absl::Status Compare(const Parts& parts, const ListedObject& object) {
  storage::Lease lease;
  ObjectShape shape;
  CISTERN_RETURN_IF_ERROR(parts.store->With([&](Store& store) -> absl::Status {
    CISTERN_ASSIGN_OR_RETURN(shape, ShapeOf(store, object.header, parts.blob_block_bytes));
    absl::StatusOr<storage::Lease> held = store.Acquire(kVerifySession, object.id, parts.Now());
    if (!held.ok()) return absl::AbortedError(held.status().message());
    lease = *std::move(held);
    return absl::OkStatus();
  }));
  const auto in_memory = RecordSlices(parts.arena->data(), shape, lease.blocks);
  std::vector<std::byte> record(transport::TotalBytes(in_memory));
  absl::Status status = parts.disk->Read({object.header.content, object.header.context}, {record});
  size_t at = 0;
  for (const transport::MutableSlice& slice : in_memory) {
    if (!status.ok()) break;
    if (std::memcmp(record.data() + at, slice.data(), slice.size()) != 0)
      status = absl::DataLossError("memory and disk differ");
    at += slice.size();
  }
  parts.store->With([&](Store& store) { store.Release(kVerifySession, lease.id).IgnoreError(); });
  return status;
}

absl::Status CheckOne(const Parts& parts, const ListedObject& object, Report& report) {
  ++report.checked;
  if (parts.disk == nullptr) {
    ++report.memory_only;
    return absl::OkStatus();
  }
  const bool in_memory = object.where == storage::Where::kMemory;
  const bool small = object.header.kind == base::ObjectKind::kSegment ||
                     object.header.blob_bytes <= kMaxComparedBytes;
  absl::Status status = absl::AbortedError("");
  if (in_memory && small) {
    status = Compare(parts, object);
    if (status.ok()) ++report.compared;
  }
  if (absl::IsAborted(status))
    status = parts.disk->Verify({object.header.content, object.header.context});
  if (absl::IsNotFound(status) && in_memory) {
    ++report.memory_only;
    return absl::OkStatus();
  }
  ++report.records_read;
  return status;
}

// A record that is wrong must not be served; what is also in memory still is.
void DropIfDiskOnly(const Parts& parts, const ListedObject& object) {
  const base::ObjectHeader& header = object.header;
  const storage::Selector selector{.key =
                                       header.context.IsZero() ? header.content : header.context};
  if (object.where == storage::Where::kDisk)
    parts.store->With([&](Store& store) { store.Evict(selector); });
}

}  // namespace

absl::StatusOr<std::string> VerifyJson(const Parts& parts, const transport::AdminRequest& asked,
                                       absl::Time give_up) {
  transport::AdminRequest request = asked;
  request.all = true;
  if (request.limit == 0 || request.limit > kMaxRows) request.limit = kMaxRows;
  uint64_t next = 0;
  std::vector<ListedObject> objects;
  absl::Status invariants;
  CISTERN_RETURN_IF_ERROR(parts.store->With([&](Store& store) -> absl::Status {
    CISTERN_ASSIGN_OR_RETURN(const std::vector<storage::Selector> selectors,
                             SelectorsOf(store, request));
    objects = ListObjects(store, selectors, request.cursor, request.limit, &next);
    if (request.cursor == 0) invariants = store.CheckInvariants();
    return absl::OkStatus();
  }));

  Report report;
  for (const ListedObject& object : objects) {
    if (report.checked > 0 && parts.Now() >= give_up) {
      next = object.id;
      break;
    }
    const absl::Status status = CheckOne(parts, object, report);
    Counters::Bump(parts.counters->verified);
    if (status.ok()) continue;
    Complain(report, object, status.ToString());
    if (!absl::IsDataLoss(status)) continue;
    Counters::Bump(parts.counters->corrupt);
    parts.log->Error("verify found a damaged object",
                     {{"content", object.header.content.ToHex()}, {"error", status}});
    DropIfDiskOnly(parts, object);
  }
  parts.KickDemoter();
  const Json json = {{"checked", report.checked},
                     {"records_read", report.records_read},
                     {"compared_with_memory", report.compared},
                     {"memory_only", report.memory_only},
                     {"wrong", std::move(report.wrong)},
                     {"invariants", invariants.ok() ? "ok" : invariants.ToString()},
                     {"next", next}};
  return Text(json);
}

}  // namespace cistern::cacheserver
