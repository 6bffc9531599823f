// `ls`, `inspect`, `evict`, `pin`, `unpin`, and the answer to `flush`.
#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "base/tenant.h"
#include "cacheserver/service/admin_verbs.h"
#include "nlohmann/json.hpp"

namespace cistern::cacheserver {
namespace {

using storage::Selector;
using storage::Store;
using transport::AdminRequest;
using Json = nlohmann::ordered_json;

constexpr size_t kInspectedTokens = 4096;

const char* WhereText(const Parts& parts, const ListedObject& object) {
  if (object.where == storage::Where::kMemory) return "memory";
  const bool in_host = parts.host != nullptr &&
                       parts.host->tier().InMemory({object.header.content, object.header.context});
  return in_host ? "host" : "disk";
}

// Under the lock: it asks for the model's name and row size.
Json ObjectJson(const Parts& parts, Store& store, const ListedObject& object) {
  const base::ObjectHeader& header = object.header;
  const base::ModelSpec* spec = store.FindModel(header.model);
  return {{"id", object.id},
          {"kind", std::string(base::ToString(header.kind))},
          {"content", header.content.ToHex()},
          {"context", header.context.ToHex()},
          {"model", header.model.ToHex()},
          {"model_name", spec == nullptr ? "" : spec->name},
          {"tenant", base::TenantText(header.tenant)},
          {"tokens", header.num_tokens()},
          {"bytes", header.PayloadBytes(spec)},
          {"where", WhereText(parts, object)},
          {"pinned", object.pinned},
          {"leases", object.leases},
          {"value", object.value}};
}

Json InspectedJson(const Parts& parts, Store& store, const ListedObject& object) {
  const base::ObjectHeader& header = object.header;
  Json json = ObjectJson(parts, store, object);
  json["parent_context"] = header.parent_context.ToHex();
  json["base_position"] = header.base_position;
  json["encoding"] = std::string(base::ToString(header.encoding));
  json["arithmetic"] = std::string(base::ToString(header.arithmetic));
  json["lineage"] = std::string(base::ToString(header.lineage));
  if (base::IsState(header.kind)) json["previous_state"] = header.previous_state.ToHex();
  if (header.kind == base::ObjectKind::kLog) json["tails"] = base::ToString(header.tails);
  const size_t shown = std::min(header.tokens.size(), kInspectedTokens);
  json["token_ids"] =
      std::vector<base::TokenId>(header.tokens.begin(), header.tokens.begin() + shown);
  return json;
}

absl::StatusOr<std::vector<base::Key>> ModelsNamed(Store& store, const std::string& name) {
  std::vector<base::Key> models;
  for (const base::ModelSpec* spec : store.Models()) {
    if (spec->name == name) models.push_back(spec->Fingerprint());
  }
  if (models.empty())
    return absl::NotFoundError(absl::StrCat("this node knows no model '", name,
                                            "'; `cistern models` lists those it knows"));
  return models;
}

uint32_t Rows(const AdminRequest& request) {
  return request.limit == 0 ? kDefaultRows : std::min(request.limit, kMaxRows);
}

}  // namespace

absl::StatusOr<std::vector<Selector>> SelectorsOf(Store& store, const AdminRequest& request) {
  Selector selector{.key = request.key,
                    .model = request.model,
                    .tenant = request.tenant,
                    .has_tenant = request.has_tenant,
                    .all = request.all};
  const bool restricts = !request.key.IsZero() || !request.model.IsZero() ||
                         !request.model_name.empty() || request.has_tenant;
  if (!restricts && !request.all)
    return absl::InvalidArgumentError("say which objects: a key, a model, a tenant, or all");
  if (request.model_name.empty()) return std::vector<Selector>{selector};
  CISTERN_ASSIGN_OR_RETURN(const std::vector<base::Key> models,
                           ModelsNamed(store, request.model_name));
  std::vector<Selector> selectors;
  for (const base::Key& model : models) {
    if (!request.model.IsZero() && request.model != model) continue;
    selector.model = model;
    selectors.push_back(selector);
  }
  return selectors;
}

std::vector<ListedObject> ListObjects(Store& store, const std::vector<Selector>& selectors,
                                      uint64_t cursor, uint32_t limit, uint64_t* next) {
  // Several models: their objects in one order, cut where the first of them had to stop.
  std::vector<ListedObject> objects;
  *next = 0;
  for (const Selector& selector : selectors) {
    const storage::ObjectId stop = store.List(
        selector, cursor, limit,
        [&](const storage::ObjectView& view, bool pinned, uint32_t leases, double value) {
          objects.push_back({view.id, view.header->Full(), view.where, pinned, leases, value});
        });
    if (stop != 0) *next = *next == 0 ? stop : std::min(*next, stop);
  }
  std::sort(objects.begin(), objects.end(),
            [](const ListedObject& a, const ListedObject& b) { return a.id < b.id; });
  if (objects.size() > limit) {
    *next = *next == 0 ? objects[limit].id : std::min(*next, objects[limit].id);
  }
  while (*next != 0 && !objects.empty() && objects.back().id >= *next) objects.pop_back();
  return objects;
}

absl::StatusOr<std::string> ListJson(const Parts& parts, const AdminRequest& asked) {
  AdminRequest request = asked;
  request.all = true;  // a listing harms nobody
  return parts.store->With([&](Store& store) -> absl::StatusOr<std::string> {
    CISTERN_ASSIGN_OR_RETURN(const std::vector<Selector> selectors, SelectorsOf(store, request));
    uint64_t next = 0;
    Json list = Json::array();
    for (const ListedObject& object :
         ListObjects(store, selectors, request.cursor, Rows(request), &next))
      list.push_back(ObjectJson(parts, store, object));
    return Text({{"objects", std::move(list)}, {"next", next}});
  });
}

absl::StatusOr<std::string> InspectJson(const Parts& parts, const AdminRequest& request) {
  if (request.key.IsZero())
    return absl::InvalidArgumentError("inspect wants a content or context key");
  return parts.store->With([&](Store& store) -> absl::StatusOr<std::string> {
    uint64_t next = 0;
    Json list = Json::array();
    for (const ListedObject& object :
         ListObjects(store, {Selector{.key = request.key}}, 0, Rows(request), &next))
      list.push_back(InspectedJson(parts, store, object));
    if (list.empty())
      return absl::NotFoundError(
          absl::StrCat("this node has no object with the key ", request.key.ToHex()));
    return Text({{"objects", std::move(list)}});
  });
}

absl::StatusOr<std::string> EvictJson(const Parts& parts, const AdminRequest& request) {
  absl::StatusOr<uint64_t> evicted =
      parts.store->With([&](Store& store) -> absl::StatusOr<uint64_t> {
        CISTERN_ASSIGN_OR_RETURN(const std::vector<Selector> selectors,
                                 SelectorsOf(store, request));
        uint64_t count = 0;
        for (const Selector& selector : selectors) count += store.Evict(selector);
        return count;
      });
  if (!evicted.ok()) return evicted.status();
  parts.KickDemoter();  // their records go, too
  parts.room->RoomCame();
  parts.log->Info("evicted by an administrator", {{"objects", *evicted}});
  return Text({{"evicted", *evicted}});
}

absl::StatusOr<std::string> PinJson(const Parts& parts, const AdminRequest& request) {
  const bool pin = request.verb == transport::AdminVerb::kPin;
  return parts.store->With([&](Store& store) -> absl::StatusOr<std::string> {
    CISTERN_ASSIGN_OR_RETURN(const std::vector<Selector> selectors, SelectorsOf(store, request));
    uint64_t count = 0;
    for (const Selector& selector : selectors) {
      count += store.SetPinned(selector, pin);
      // Below, too: a disk at its bound drops nothing that is pinned.
      if (parts.host != nullptr)
        parts.host->store().With([&](Store& host) { host.SetPinned(selector, pin); });
    }
    if (count == 0) return absl::NotFoundError("this node has no such object");
    return Text({{pin ? "pinned" : "unpinned", count}});
  });
}

std::string FlushJson(const FlushReport& report) {
  return Text({{"flushed_objects", report.objects},
               {"flushed_bytes", report.bytes},
               {"failures", report.failures},
               {"dirty_bytes_left", report.dirty_bytes_left},
               {"error", report.first_error.ok() ? "" : report.first_error.ToString()}});
}

}  // namespace cistern::cacheserver
