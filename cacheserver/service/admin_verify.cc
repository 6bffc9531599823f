// `verify`: every byte that has a checksum is read again; what lies in memory and on disk is
// compared; what must hold of every object is checked. The store's lock is taken for a few objects
// at a time.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "cacheserver/service/admin_verbs.h"
#include "nlohmann/json.hpp"
#include "storage/tier/compare_record.h"

namespace cistern::cacheserver {
namespace {

using storage::Store;
using Json = nlohmann::ordered_json;

constexpr transport::SessionId kVerifySession = ~0ull;  // no server gives it out
constexpr uint32_t kRowsPerLook = 64;                   // while the store's lock is held

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

// What the store says of it by now: it may have been replaced, dropped or moved since it was
// listed.
storage::ObjectView Now(const Parts& parts, const ListedObject& object) {
  return parts.store->With([&](Store& store) { return store.Describe(object.id); });
}

// A record belongs to this object as long as the object is there and has one: an object that takes
// its place has another id, and the record only once it has been written anew.
absl::Status CheckOne(const Parts& parts, const ListedObject& object, Report& report) {
  ++report.checked;
  const storage::ObjectView now = Now(parts, object);
  if (now.where == storage::Where::kMiss) return absl::OkStatus();
  if (parts.below == nullptr || !now.on_disk) {
    ++report.memory_only;
    return absl::OkStatus();
  }
  const bool small =
      parts.store->With([&](Store& store) { return storage::Comparable(store, object.header); });
  absl::Status status = absl::AbortedError("");
  if (now.where == storage::Where::kMemory && small) {
    status = storage::CompareWithRecord(*parts.store, *parts.arena, *parts.below, object.id,
                                        kVerifySession, parts.blob_block_bytes, parts.Now());
    if (status.ok()) ++report.compared;
  }
  // Also when memory agrees with a tier that has no checksums: there is one more below.
  if (absl::IsAborted(status) || (status.ok() && parts.host != nullptr))
    status = parts.below->Verify({object.header.content, object.header.context});
  if (!status.ok() && !Now(parts, object).on_disk) return absl::OkStatus();  // no longer its record
  ++report.records_read;
  return status;
}

// One pass over a part of the objects, until the time is up or the node stops.
class Verifier {
 public:
  Verifier(const Parts& parts, const transport::AdminRequest& request, absl::Time give_up)
      : parts_(parts), request_(request), give_up_(give_up), next_(request.cursor) {}

  absl::Status Run() {
    uint32_t left = request_.limit;
    do {
      uint64_t after = 0;
      std::vector<ListedObject> objects;
      const uint32_t rows = std::min(left, kRowsPerLook);
      CISTERN_RETURN_IF_ERROR(parts_.store->With([&](Store& store) -> absl::Status {
        CISTERN_ASSIGN_OR_RETURN(const std::vector<storage::Selector> selectors,
                                 SelectorsOf(store, request_));
        objects = ListObjects(store, selectors, next_, rows, &after);
        return absl::OkStatus();
      }));
      for (const ListedObject& object : objects) {
        next_ = object.id;
        if (MustStop()) return absl::OkStatus();
        Check(object);
      }
      next_ = after;
      left -= rows;
    } while (next_ != 0 && left > 0);
    return absl::OkStatus();
  }

  // Of every object in every memory; "ok", or what is broken.
  std::string Invariants() const {
    const std::string served = InvariantsOf(*parts_.store);
    return served != "ok" || parts_.host == nullptr ? served : InvariantsOf(parts_.host->store());
  }

  Report& report() { return report_; }
  uint64_t next() const { return next_; }

 private:
  std::string InvariantsOf(LockedStore& locked) const {
    storage::ObjectId next = 0;
    do {
      if (MustStop()) return "not all checked: the time was up";
      const absl::Status status =
          locked.With([&](Store& store) { return store.CheckObjects(next, kRowsPerLook, &next); });
      if (!status.ok()) return status.ToString();
    } while (next != 0);
    return "ok";
  }

  // A call checks one object at least, so that a caller gets to the end.
  bool MustStop() const {
    return parts_.stopping() || (report_.checked > 0 && parts_.Now() >= give_up_);
  }

  void Check(const ListedObject& object) {
    const absl::Status status = CheckOne(parts_, object, report_);
    Counters::Bump(parts_.counters->verified);
    if (status.ok()) return;
    Complain(report_, object, status.ToString());
    const bool bad_memory = absl::IsInternal(status);
    if (!absl::IsDataLoss(status) && !bad_memory) return;
    Counters::Bump(parts_.counters->corrupt);
    parts_.log->Error("verify found a damaged object",
                      {{"content", object.header.content.ToHex()}, {"error", status}});
    // What is wrong must not be served; the other tier's bytes are.
    parts_.store->With([&](Store& store) {
      bad_memory ? store.ForgetMemory(object.id) : store.ForgetRecord(object.id);
    });
  }

  const Parts& parts_;
  const transport::AdminRequest& request_;
  const absl::Time give_up_;
  uint64_t next_;  // where to go on; 0 after the end
  Report report_;
};

}  // namespace

absl::StatusOr<std::string> VerifyJson(const Parts& parts, const transport::AdminRequest& asked,
                                       absl::Time give_up) {
  transport::AdminRequest request = asked;
  request.all = true;
  if (request.limit == 0 || request.limit > kMaxRows) request.limit = kMaxRows;
  Verifier verifier(parts, request, give_up);
  CISTERN_RETURN_IF_ERROR(verifier.Run());
  const std::string invariants = request.cursor == 0 ? verifier.Invariants() : "ok";
  parts.KickDemoter();
  Report& report = verifier.report();
  const Json json = {{"checked", report.checked},
                     {"records_read", report.records_read},
                     {"compared_with_memory", report.compared},
                     {"memory_only", report.memory_only},
                     {"wrong", std::move(report.wrong)},
                     {"invariants", invariants},
                     {"next", verifier.next()}};
  return Text(json);
}

}  // namespace cistern::cacheserver
