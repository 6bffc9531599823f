// What `cistern-bench transfer` says: one line for each path and size, beside its limit.
//
// Units  GB/s = 10^9 bytes a second. `gbps` and `limit_gbps` are medians over rounds, p50 and p99
// are over all operations of all rounds
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "tools/bench/samples.h"

namespace cistern::tools {

// Rounds of operations of one kind.
class Rounds {
 public:
  void Add(uint64_t bytes, absl::Duration took);  // one operation of the round under way
  void End();                                     // of that round; an empty one is not counted
  size_t count() const { return gbps_.count(); }
  double MedianGbps() const { return gbps_.Median(); }
  double P50Us() const { return micros_.Percentile(0.5); }
  double P99Us() const { return micros_.Percentile(0.99); }

 private:
  Samples gbps_, micros_;
  uint64_t bytes_ = 0;
  absl::Duration took_;
};

struct TransferLine {
  std::string path;
  std::string object;  // "1MiB", "deepseek-v3 segment"
  uint64_t bytes = 0;
  uint64_t rounds = 0, operations = 0;
  double gbps = 0, p50_us = 0, p99_us = 0;
  std::string limit;
  double limit_gbps = 0;
  uint64_t verified_bytes = 0;

  double stream_gbps = 0;  // tcp_*: a spinning one-way stream of the same bytes; 0: not measured
  // Several workers at once (0: one): bandwidth of all, and the smallest and largest part of it
  // that one of them had, by an equal part.
  uint32_t workers = 0;
  double min_share = 0, max_share = 0;
  double plan_p50_us = 0;  // fetches: the plan that was made before; 0: none
  // Fetches of several layers: from Fetch to WaitLayer(0), and how long one layer's bytes take at
  // `gbps`; 0: none.
  double first_layer_p50_us = 0, layer_us = 0;

  // A lookup has these instead of bytes and a limit.
  uint64_t keys = 0;  // of one batch; 0: not a lookup
  double keys_per_s = 0;
  std::string over;  // "unix", "tcp"
  bool lease = false;
  uint32_t in_flight = 0;

  double ratio() const { return limit_gbps > 0 ? gbps / limit_gbps : 0; }
};

std::string ToJson(const TransferLine& line);  // one line, without its end
std::string TransferTableHead();
std::string ToTableRow(const TransferLine& line);

}  // namespace cistern::tools
