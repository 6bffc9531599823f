// Fetches and what they answer.
#include <latch>

#include "base/status_macros.h"
#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

cistern_fetch_options FetchDefaults() {
  cistern_fetch_options out{};
  out.struct_size = sizeof(out);
  out.deadline_ms = ToMillis(FetchOptions().deadline);
  return out;
}

// `started`: on_layer waits for it.
absl::Status ReadFetchOptions(const cistern_fetch_options* options, const base::ModelSpec& spec,
                              const std::shared_ptr<std::latch>& started, FetchOptions* to) {
  cistern_fetch_options in = FetchDefaults();
  if (options != nullptr) CISTERN_RETURN_IF_ERROR(TakeIn(options, "options", &in));
  to->deadline = Millis(in.deadline_ms);
  if (in.on_layer != nullptr) {
    to->on_layer = [call = in.on_layer, user = in.user, started](uint32_t layer) {
      started->wait();
      call(user, layer);
    };
  }
  if (in.pre_rope != nullptr) {
    to->pre_rope = Pointers<std::byte>(in.pre_rope, spec.num_layers);
    to->pre_rope_stride = in.pre_rope_stride;
    to->pre_rope_everywhere = in.pre_rope_everywhere != 0;
  }
  if (in.state != nullptr) {
    CISTERN_RETURN_IF_ERROR(
        ReadState(in.state, spec.state, "options.state", /*need_temporal=*/true, &to->state));
  }
  if (in.decay != nullptr) {
    to->constants.decay.assign(in.decay, in.decay + spec.state.num_layers);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace cistern::c

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

void cistern_fetch_options_init(cistern_fetch_options* options, size_t struct_size) {
  Init(FetchDefaults(), options, struct_size);
}

int32_t cistern_fetch_start(cistern_client* client, cistern_plan* plan,
                            const cistern_paged_cache* destination,
                            const cistern_fetch_options* options, cistern_fetch** fetch,
                            cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    CISTERN_RETURN_IF_ERROR(Need(plan, "plan"));
    CISTERN_RETURN_IF_ERROR(Need(fetch, "fetch"));
    if (!plan->plan.has_value()) {
      return absl::FailedPreconditionError("a fetch has used this plan up");
    }
    cistern::PagedCache cache;
    CISTERN_RETURN_IF_ERROR(ReadCache(destination, plan->spec, "destination", &cache));
    cistern::FetchOptions in;
    const auto known = std::make_shared<std::latch>(1);
    CISTERN_RETURN_IF_ERROR(ReadFetchOptions(options, plan->spec, known, &in));
    auto started = std::make_unique<cistern_fetch>();
    // Engines grow their block tables while a fetch runs.
    started->block_table.assign(cache.block_table.begin(), cache.block_table.end());
    cache.block_table = started->block_table;
    CISTERN_ASSIGN_OR_RETURN(started->handle,
                             client->client->Fetch(std::move(*plan->plan), cache, in));
    plan->plan.reset();
    *fetch = started.release();
    known->count_down();
    return absl::OkStatus();
  });
}

int32_t cistern_fetch_wait_layer(cistern_fetch* fetch, uint32_t layer, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(fetch, "fetch"));
    return fetch->handle.WaitLayer(layer);
  });
}

size_t cistern_fetch_missing(const cistern_fetch* fetch, cistern_range* ranges, size_t capacity) {
  if (fetch == nullptr) return 0;
  return CallOr(size_t{0},
                [&] { return CopyOut(RangesOf(fetch->handle.Missing()), ranges, capacity); });
}

int32_t cistern_fetch_wait(cistern_fetch* fetch, cistern_result** result, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(fetch, "fetch"));
    CISTERN_RETURN_IF_ERROR(Need(result, "result"));
    CISTERN_ASSIGN_OR_RETURN(auto fetched, fetch->handle.Wait());
    *result = new cistern_result{std::move(fetched)};
    return absl::OkStatus();
  });
}

void cistern_fetch_cancel(cistern_fetch* fetch) {
  if (fetch != nullptr) fetch->handle.Cancel();
}

void cistern_fetch_free(cistern_fetch* fetch) { delete fetch; }

int32_t cistern_result_get_info(const cistern_result* result, cistern_result_info* info,
                                cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(result, "result"));
    const cistern::FetchResult& from = result->result;
    cistern_result_info out{};
    out.bytes_memory = from.bytes_memory;
    out.bytes_disk = from.bytes_disk;
    out.mapped_bytes = from.mapped_bytes;
    out.approximate_from = from.approximate_from;
    out.state_position = from.state_position;
    out.state_bytes = from.state_bytes;
    return FillOut(out, "info", info);
  });
}

size_t cistern_result_missing(const cistern_result* result, cistern_range* ranges,
                              size_t capacity) {
  if (result == nullptr) return 0;
  return CallOr(size_t{0},
                [&] { return CopyOut(RangesOf(result->result.missing), ranges, capacity); });
}

size_t cistern_result_delivered(const cistern_result* result, cistern_span* spans,
                                size_t capacity) {
  if (result == nullptr) return 0;
  return CallOr(size_t{0},
                [&] { return CopyOut(SpansOf(result->result.delivered), spans, capacity); });
}

void cistern_result_free(cistern_result* result) { delete result; }
