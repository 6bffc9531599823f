#include "cistern/policy.h"

namespace cistern {

bool CostModel::WorthFetching(uint64_t tokens, uint64_t token_bytes, bool on_disk) const {
  const double read_rate = on_disk ? disk_bytes_per_second : fetch_bytes_per_second;
  if (prefill_tokens_per_second <= 0 || read_rate <= 0) return true;
  const double bytes = static_cast<double>(tokens) * static_cast<double>(token_bytes);
  double fetch_seconds = bytes / read_rate;
  if (on_disk && fetch_bytes_per_second > 0) fetch_seconds += bytes / fetch_bytes_per_second;
  return fetch_seconds < static_cast<double>(tokens) / prefill_tokens_per_second;
}

}  // namespace cistern
