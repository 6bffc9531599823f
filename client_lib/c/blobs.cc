// Blobs.
#include "base/status_macros.h"
#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

absl::string_view NameOf(const cistern_name& name) {
  return {static_cast<const char*>(name.data), name.bytes};
}

absl::Status CheckName(const cistern_name& name, size_t i) {
  return NeedArray(name.data, name.bytes, absl::StrCat("blobs[", i, "].name.data"));
}

absl::Status ReadNames(const cistern_name* names, size_t count,
                       std::vector<absl::string_view>* to) {
  CISTERN_RETURN_IF_ERROR(NeedArray(names, count, "names"));
  to->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    CISTERN_RETURN_IF_ERROR(
        NeedArray(names[i].data, names[i].bytes, absl::StrCat("names[", i, "].data")));
    to->push_back(NameOf(names[i]));
  }
  return absl::OkStatus();
}

template <typename Outcomes>
void CopyOutcomes(const Outcomes& from, int32_t* to) {
  for (size_t i = 0; i < from.size(); ++i) to[i] = static_cast<int32_t>(from[i]);
}

}  // namespace
}  // namespace cistern::c

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

int32_t cistern_blobs_find(cistern_client* client, const cistern_name* names, size_t count,
                           uint32_t deadline_ms, uint64_t* sizes, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(NeedArray(sizes, count, "sizes"));
    std::vector<absl::string_view> in;
    CISTERN_RETURN_IF_ERROR(ReadNames(names, count, &in));
    CISTERN_ASSIGN_OR_RETURN(const auto found,
                             client->client->blobs().Find(in, Millis(deadline_ms)));
    std::copy(found.begin(), found.end(), sizes);
    return absl::OkStatus();
  });
}

int32_t cistern_blobs_put(cistern_client* client, const cistern_blob_source* blobs, size_t count,
                          uint32_t deadline_ms, int32_t* outcomes, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(NeedArray(blobs, count, "blobs"));
    CISTERN_RETURN_IF_ERROR(NeedArray(outcomes, count, "outcomes"));
    std::vector<cistern::BlobSource> in;
    in.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      CISTERN_RETURN_IF_ERROR(CheckName(blobs[i].name, i));
      CISTERN_RETURN_IF_ERROR(
          NeedArray(blobs[i].data, blobs[i].bytes, absl::StrCat("blobs[", i, "].data")));
      in.push_back(
          {NameOf(blobs[i].name), {static_cast<const std::byte*>(blobs[i].data), blobs[i].bytes}});
    }
    CISTERN_ASSIGN_OR_RETURN(const auto put, client->client->blobs().Put(in, Millis(deadline_ms)));
    CopyOutcomes(put, outcomes);
    return absl::OkStatus();
  });
}

int32_t cistern_blobs_get(cistern_client* client, const cistern_blob_target* blobs, size_t count,
                          uint32_t deadline_ms, int32_t* outcomes, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(NeedArray(blobs, count, "blobs"));
    CISTERN_RETURN_IF_ERROR(NeedArray(outcomes, count, "outcomes"));
    std::vector<cistern::BlobTarget> in;
    in.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      CISTERN_RETURN_IF_ERROR(CheckName(blobs[i].name, i));
      CISTERN_RETURN_IF_ERROR(
          NeedArray(blobs[i].memory, blobs[i].bytes, absl::StrCat("blobs[", i, "].memory")));
      in.push_back(
          {NameOf(blobs[i].name), {static_cast<std::byte*>(blobs[i].memory), blobs[i].bytes}});
    }
    CISTERN_ASSIGN_OR_RETURN(const auto got, client->client->blobs().Get(in, Millis(deadline_ms)));
    CopyOutcomes(got, outcomes);
    return absl::OkStatus();
  });
}

int32_t cistern_blobs_pin(cistern_client* client, const cistern_name* names, size_t count,
                          int32_t pinned, uint32_t deadline_ms, uint64_t* stored,
                          cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    std::vector<absl::string_view> in;
    CISTERN_RETURN_IF_ERROR(ReadNames(names, count, &in));
    CISTERN_ASSIGN_OR_RETURN(const uint64_t found,
                             client->client->blobs().Pin(in, pinned != 0, Millis(deadline_ms)));
    if (stored != nullptr) *stored = found;
    return absl::OkStatus();
  });
}

int32_t cistern_blobs_view(cistern_client* client, const cistern_name* names, size_t count,
                           uint32_t deadline_ms, cistern_blob_view** views, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(NeedArray(views, count, "views"));
    std::vector<absl::string_view> in;
    CISTERN_RETURN_IF_ERROR(ReadNames(names, count, &in));
    CISTERN_ASSIGN_OR_RETURN(auto viewed, client->client->blobs().View(in, Millis(deadline_ms)));
    std::vector<std::unique_ptr<cistern_blob_view>> made(count);
    for (size_t i = 0; i < count; ++i) {
      if (viewed[i].found()) {
        made[i] = std::make_unique<cistern_blob_view>(cistern_blob_view{std::move(viewed[i])});
      }
    }
    for (size_t i = 0; i < count; ++i) views[i] = made[i].release();
    return absl::OkStatus();
  });
}

uint64_t cistern_blob_view_bytes(const cistern_blob_view* view) {
  return view == nullptr ? 0 : view->view.size();
}

size_t cistern_blob_view_runs(const cistern_blob_view* view, cistern_run* runs, size_t capacity) {
  if (view == nullptr) return 0;
  return CallOr(size_t{0}, [&] {
    std::vector<cistern_run> all;
    for (const auto run : view->view.runs()) all.push_back({run.data(), run.size()});
    return CopyOut(all, runs, capacity);
  });
}

int32_t cistern_blob_view_still_there(const cistern_blob_view* view) {
  return view != nullptr && view->view.StillThere() ? 1 : 0;
}

void cistern_blob_view_free(cistern_blob_view* view) { delete view; }
