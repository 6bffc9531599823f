// memcpy of data that lies in no CPU cache: the limit that fetches are compared with.
#pragma once

#include <cstdint>
#include <vector>

#include "tools/bench/samples.h"

namespace cistern::tools {

// Copies `chunk_bytes` at a time between two regions far larger than any cache; one round a call,
// so that rounds can be spread over the run that they are compared with.
class MemcpyMeter {
 public:
  MemcpyMeter(uint64_t region_bytes, uint64_t chunk_bytes);
  void Round();                                         // one pass over `bytes_per_round`
  double MedianGbps() const { return gbps_.Median(); }  // 10^9 bytes a second

 private:
  const uint64_t chunk_bytes_;
  std::vector<char> source_, target_;
  uint64_t next_ = 0;
  Samples gbps_;
};

}  // namespace cistern::tools
