#include "cacheserver/trim_disk.h"

#include <algorithm>
#include <vector>

namespace cistern::cacheserver {
namespace {

struct Candidate {
  uint64_t rank = 0;
  uint64_t bytes = 0;
  base::Key key;  // context; a blob has none, but a name of its own
};

std::vector<Candidate> Candidates(storage::Store& store) {
  std::vector<Candidate> candidates;
  store.List({.all = true}, 0, ~0u,
             [&](const storage::ObjectView& view, bool pinned, uint32_t leases, double) {
               if (view.where != storage::Where::kDisk || pinned || leases > 0) return;
               const storage::StoredHeader& header = *view.header;
               candidates.push_back({view.rank, header.payload_bytes(),
                                     header.context.IsZero() ? header.content : header.context});
             });
  return candidates;
}

}  // namespace

uint64_t TrimDisk(LockedStore& store, uint64_t bytes) {
  return store.With([&](storage::Store& locked) {
    std::vector<Candidate> candidates = Candidates(locked);
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
    uint64_t gone = 0;
    uint64_t freed = 0;
    for (const Candidate& candidate : candidates) {
      if (freed >= bytes) break;
      gone += locked.Evict({.key = candidate.key});
      freed += candidate.bytes;
    }
    return gone;
  });
}

}  // namespace cistern::cacheserver
