#include "tools/bench/pools/product_policy.h"

#include <utility>

#include "base/status_macros.h"

namespace cistern::tools {

absl::StatusOr<std::unique_ptr<ProductPolicy>> ProductPolicy::Create(const PolicyOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(
      std::unique_ptr<storage::Arena> arena,
      storage::Arena::Create(
          {.bytes = options.total_bytes, .huge_pages = false, .pre_touch = false}));
  std::unique_ptr<ProductPolicy> policy(new ProductPolicy(options, std::move(arena)));
  for (const BlockKind kind : {BlockKind::kPage, BlockKind::kState}) {
    CISTERN_ASSIGN_OR_RETURN(policy->pool_of_[static_cast<int>(kind)],
                             policy->pools_.PoolFor(options.model.bytes(kind)));
  }
  return policy;
}

bool ProductPolicy::Allocate(uint32_t request, BlockKind kind, uint32_t count) {
  std::vector<storage::Handle>& handles = handles_[request];
  const uint32_t taken = pools_.Allocate(pool_of_[static_cast<int>(kind)], count, &handles);
  operations_ += taken;
  if (taken == count) return true;
  for (uint32_t i = 0; i < taken; ++i) {
    pools_.Free(handles.back());
    handles.pop_back();
  }
  operations_ += taken;
  return false;
}

void ProductPolicy::Release(uint32_t request) {
  for (const storage::Handle handle : handles_[request]) pools_.Free(handle);
  operations_ += handles_[request].size();
  handles_[request].clear();
}

}  // namespace cistern::tools
