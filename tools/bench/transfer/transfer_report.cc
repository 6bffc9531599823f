#include "tools/bench/transfer/transfer_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {

void Rounds::Add(uint64_t bytes, absl::Duration took) {
  bytes_ += bytes;
  took_ += took;
  micros_.Add(absl::ToDoubleMicroseconds(took));
}

void Rounds::End() {
  if (took_ > absl::ZeroDuration())
    gbps_.Add(static_cast<double>(bytes_) / absl::ToDoubleNanoseconds(took_));
  bytes_ = 0;
  took_ = absl::ZeroDuration();
}

std::string ToJson(const TransferLine& line) {
  nlohmann::ordered_json json = {{"path", line.path}};
  if (line.keys != 0) {
    json["over"] = line.over;
    json["lease"] = line.lease;
    json["in_flight"] = line.in_flight;
    json["keys"] = line.keys;
    json["keys_per_s"] = line.keys_per_s;
    json["p50_us"] = line.p50_us;
    json["p99_us"] = line.p99_us;
  } else {
    json["object"] = line.object;
    json["bytes"] = line.bytes;
    json["gbps"] = line.gbps;
    json["p50_us"] = line.p50_us;
    json["p99_us"] = line.p99_us;
    json["limit"] = line.limit;
    json["limit_gbps"] = line.limit_gbps;
    json["ratio"] = line.ratio();
    if (line.stream_gbps > 0) {
      json["stream_gbps"] = line.stream_gbps;
      json["stream_ratio"] = line.gbps / line.stream_gbps;
    }
    if (line.plan_p50_us > 0) json["plan_p50_us"] = line.plan_p50_us;
    if (line.first_layer_p50_us > 0) {
      json["first_layer_p50_us"] = line.first_layer_p50_us;
      json["layer_us"] = line.layer_us;
    }
    if (line.workers > 0) {
      json["workers"] = line.workers;
      json["min_share"] = line.min_share;
      json["max_share"] = line.max_share;
    }
    json["verified_bytes"] = line.verified_bytes;
  }
  json["rounds"] = line.rounds;
  json["operations"] = line.operations;
  return json.dump();
}

std::string TransferTableHead() {
  return absl::StrFormat("%-11s %-26s %10s %8s %10s %10s  %-20s %8s %6s %7s\n", "path", "object",
                         "bytes", "GB/s", "p50 us", "p99 us", "limit", "GB/s", "ratio", "stream");
}

std::string ToTableRow(const TransferLine& line) {
  if (line.keys != 0) {
    const std::string what = absl::StrCat(line.keys, " keys, ", line.over,
                                          line.lease ? ", leased" : "", ", x", line.in_flight);
    return absl::StrFormat("%-11s %-26s %10s %8s %10.1f %10.1f  %.2f M keys/s\n", line.path, what,
                           "", "", line.p50_us, line.p99_us, line.keys_per_s / 1e6);
  }
  std::string stream;
  if (line.stream_gbps > 0) stream = absl::StrFormat("%.2f", line.gbps / line.stream_gbps);
  if (line.workers > 0) {
    stream =
        absl::StrFormat("x%d, shares %.2f to %.2f", line.workers, line.min_share, line.max_share);
  }
  return absl::StrFormat("%-11s %-26s %10d %8.2f %10.1f %10.1f  %-20s %8.2f %6.2f %7s\n", line.path,
                         line.object, line.bytes, line.gbps, line.p50_us, line.p99_us, line.limit,
                         line.limit_gbps, line.ratio(), stream);
}

}  // namespace cistern::tools
