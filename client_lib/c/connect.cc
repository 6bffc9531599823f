// Clients.
#include <string>

#include "base/status_macros.h"
#include "client_lib/c/handles.h"

namespace cistern::c {
namespace {

cistern_client_options Defaults() {
  const ClientOptions options;
  cistern_client_options out{};
  out.struct_size = sizeof(out);
  out.connect_timeout_ms = ToMillis(options.connect_timeout);
  out.call_deadline_ms = ToMillis(options.call_deadline);
  out.publish_deadline_ms = ToMillis(options.publish_deadline);
  out.reconnect_backoff_ms = ToMillis(options.reconnect_backoff);
  out.want_mapping = options.want_mapping ? 1 : 0;
  out.arithmetic = static_cast<int32_t>(options.arithmetic);
  out.prefill_tokens_per_second = options.cost.prefill_tokens_per_second;
  out.max_staging_bytes = options.max_staging_bytes;
  out.fetch_threads = options.fetch_threads;
  out.max_queued_fetches = options.max_queued_fetches;
  return out;
}

}  // namespace

absl::Status ReadClientOptions(const cistern_client_options* options, ClientOptions* to) {
  cistern_client_options in = Defaults();
  if (options != nullptr) CISTERN_RETURN_IF_ERROR(TakeIn(options, "options", &in));
  CISTERN_RETURN_IF_ERROR(NeedArray(in.salt, in.salt_bytes, "options.salt"));
  if (in.arithmetic < CISTERN_FP32_TABLE || in.arithmetic > CISTERN_BF16_PER_OP) {
    return absl::InvalidArgumentError(
        absl::StrCat("options.arithmetic is ", in.arithmetic, "; 0 to 2 are known"));
  }
  if (in.name != nullptr) to->name = in.name;
  if (in.salt_bytes > 0) to->salt.assign(in.salt, in.salt_bytes);
  to->connect_timeout = Millis(in.connect_timeout_ms);
  to->call_deadline = Millis(in.call_deadline_ms);
  to->publish_deadline = Millis(in.publish_deadline_ms);
  to->reconnect_backoff = Millis(in.reconnect_backoff_ms);
  to->want_mapping = in.want_mapping != 0;
  to->arithmetic = static_cast<base::RotaryArithmetic>(in.arithmetic);
  to->cost.prefill_tokens_per_second = in.prefill_tokens_per_second;
  to->max_staging_bytes = in.max_staging_bytes;
  to->fetch_threads = in.fetch_threads;
  to->max_queued_fetches = in.max_queued_fetches;
  return absl::OkStatus();
}

}  // namespace cistern::c

using namespace cistern::c;  // NOLINT(google-build-using-namespace)

void cistern_client_options_init(cistern_client_options* options, size_t struct_size) {
  Init(Defaults(), options, struct_size);
}

int32_t cistern_connect(const char* address, const cistern_client_options* options,
                        cistern_client** client, cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(address, "address"));
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    cistern::ClientOptions in;
    CISTERN_RETURN_IF_ERROR(ReadClientOptions(options, &in));
    in.address = address;
    CISTERN_ASSIGN_OR_RETURN(auto connected, cistern::Client::Connect(in));
    *client = new cistern_client{std::move(connected)};
    return absl::OkStatus();
  });
}

void cistern_client_free(cistern_client* client) { delete client; }

int32_t cistern_client_get_stats(const cistern_client* client, cistern_client_stats* stats,
                                 cistern_error* error) {
  return Call(error, [&]() -> absl::Status {
    CISTERN_RETURN_IF_ERROR(Need(client, "client"));
    const cistern::ClientStats from = client->client->stats();
    cistern_client_stats out{};
    out.plans = from.plans;
    out.plan_failures = from.plan_failures;
    out.fetches = from.fetches;
    out.fetch_failures = from.fetch_failures;
    out.publishes = from.publishes;
    out.publish_failures = from.publish_failures;
    out.token_mismatches = from.token_mismatches;
    out.stale_reads = from.stale_reads;
    out.checksum_failures = from.checksum_failures;
    out.device_errors = from.device_errors;
    out.reconnects = from.reconnects;
    out.refused_slow = from.refused_slow;
    return FillOut(out, "stats", stats);
  });
}
