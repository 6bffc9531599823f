#include "tools/cistern/pages.h"

#include <algorithm>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace cistern::tools {
namespace {

using Json = nlohmann::ordered_json;

// Nlohmann's exceptions end here.
absl::Status WithJson(const std::string& text, absl::FunctionRef<void(Json)> use) {
  try {
    use(Json::parse(text));
  } catch (const nlohmann::json::exception& e) {
    return absl::InternalError(absl::StrCat("the node's answer is not understood: ", e.what()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ListAll(NodeAdmin& node, transport::AdminRequest request,
                                    uint32_t limit) {
  Json all = {{"objects", Json::array()}, {"next", 0}};
  uint64_t next = request.cursor;
  do {
    request.limit = limit - static_cast<uint32_t>(all["objects"].size());
    request.cursor = next;
    CISTERN_ASSIGN_OR_RETURN(const std::string page, node.Ask(request));
    CISTERN_RETURN_IF_ERROR(WithJson(page, [&](Json json) {
      for (Json& object : json.at("objects")) all["objects"].push_back(std::move(object));
      next = json.at("next").get<uint64_t>();
    }));
  } while (next != 0 && all["objects"].size() < limit);
  all["next"] = next;
  return all.dump();
}

absl::StatusOr<std::string> EvictAll(NodeAdmin& node, transport::AdminRequest request) {
  request.verb = transport::AdminVerb::kEvict;
  CISTERN_ASSIGN_OR_RETURN(const std::string answer, node.Ask(request));
  request.verb = transport::AdminVerb::kList;
  CISTERN_ASSIGN_OR_RETURN(const std::string left, ListAll(node, request, UINT32_MAX));
  uint64_t evicted = 0, kept = 0, pinned = 0, leased = 0;
  CISTERN_RETURN_IF_ERROR(
      WithJson(answer, [&](const Json& json) { evicted = json.at("evicted").get<uint64_t>(); }));
  CISTERN_RETURN_IF_ERROR(WithJson(left, [&](const Json& json) {
    for (const Json& object : json.at("objects")) {
      const bool is_pinned = object.at("pinned").get<bool>();
      const bool is_leased = object.at("leases").get<uint64_t>() > 0;
      kept += is_pinned || is_leased ? 1 : 0;
      pinned += is_pinned ? 1 : 0;
      leased += is_leased ? 1 : 0;
    }
  }));
  if (!request.key.IsZero() && evicted + kept == 0)
    return absl::NotFoundError(
        absl::StrCat("this node has no object with the key ", request.key.ToHex()));
  const Json all = {
      {"evicted", evicted}, {"kept", kept}, {"kept_pinned", pinned}, {"kept_leased", leased}};
  return all.dump();
}

absl::StatusOr<std::string> VerifyAll(NodeAdmin& node, transport::AdminRequest request,
                                      bool* damage) {
  Json all;
  uint64_t next = 0;
  do {
    request.cursor = next;
    CISTERN_ASSIGN_OR_RETURN(const std::string page, node.Ask(request));
    CISTERN_RETURN_IF_ERROR(WithJson(page, [&](Json json) {
      next = json.at("next").get<uint64_t>();
      if (all.is_null()) {
        all = std::move(json);
        return;
      }
      for (const char* sum : {"checked", "records_read", "compared_with_memory", "memory_only"})
        all[sum] = all.at(sum).get<uint64_t>() + json.at(sum).get<uint64_t>();
      for (Json& wrong : json.at("wrong")) all["wrong"].push_back(std::move(wrong));
    }));
  } while (next != 0);
  all["next"] = 0;
  CISTERN_RETURN_IF_ERROR(WithJson(all.dump(), [&](const Json& json) {
    *damage = !json.at("wrong").empty() || json.at("invariants").get<std::string>() != "ok";
  }));
  return all.dump();
}

absl::StatusOr<bool> FlushedAll(const std::string& text) {
  bool all = false;
  CISTERN_RETURN_IF_ERROR(WithJson(
      text, [&](const Json& json) { all = json.at("dirty_bytes_left").get<uint64_t>() == 0; }));
  return all;
}

}  // namespace cistern::tools
