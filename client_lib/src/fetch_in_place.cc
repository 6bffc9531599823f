// Rows read where they lie in the node's arena, mapped into this process.
//
// A lease keeps blocks from moving; generations catch the case that the node has taken the lease
// back (it believed this process dead, or restarted): rows are copied first, then the numbers are
// compared, and rows of another generation are never handed out.
#include <algorithm>
#include <atomic>

#include "base/arena_layout.h"
#include "client_lib/src/fetch_run.h"

namespace cistern::client {
namespace {

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;
constexpr uint64_t kStepBytes = 4 << 20;  // between two looks at whether the caller still wants it

uint32_t NumPages(uint32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// Whether `blocks` are still what they were leased as. After all reads of them.
bool StillThere(const std::byte* arena, uint64_t incarnation,
                const std::vector<base::BlockRef>& blocks) {
  std::atomic_thread_fence(std::memory_order_acquire);
  const auto* header = reinterpret_cast<const base::ArenaHeader*>(arena);
  if (__atomic_load_n(&header->incarnation, __ATOMIC_ACQUIRE) != incarnation) return false;
  return std::all_of(blocks.begin(), blocks.end(), [&](const base::BlockRef& block) {
    return base::ReadGeneration(arena, block.handle) == block.generation;
  });
}

}  // namespace

bool FetchRun::BlocksFit(uint32_t object) const {
  const PlannedObject& planned = plan_.objects[object];
  const uint64_t arena_bytes = plan_.session->link().node().arena_bytes;
  const uint64_t page_bytes = plan_.model->spec().page_bytes();
  const auto* header = reinterpret_cast<const base::ArenaHeader*>(plan_.session->link().arena());
  if (planned.blocks.size() != NumPages(planned.num_tokens) || page_bytes > arena_bytes) {
    return false;
  }
  return std::all_of(planned.blocks.begin(), planned.blocks.end(), [&](const base::BlockRef& b) {
    return b.handle < header->num_handles && b.offset <= arena_bytes - page_bytes;
  });
}

void FetchRun::CheckStale(uint32_t object) {
  const bool lost = std::all_of(spans_of_[object].begin(), spans_of_[object].end(),
                                [&](uint32_t i) { return spans_[i].lost; });
  if (lost || StillThere(plan_.session->link().arena(), plan_.session->incarnation(),
                         plan_.objects[object].blocks)) {
    return;
  }
  ++counters_.stale_reads;
  Lose(object);
}

void FetchRun::PassInPlace(const std::vector<uint32_t>& objects, bool last) {
  const base::ModelSpec& spec = plan_.model->spec();
  const std::byte* const arena = plan_.session->link().arena();
  std::vector<std::vector<const std::byte*>> pages(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    if (!BlocksFit(objects[i])) {
      Lose(objects[i]);
      continue;
    }
    for (const base::BlockRef& block : plan_.objects[objects[i]].blocks) {
      pages[i].push_back(arena + block.offset);
    }
  }
  const auto step = static_cast<uint32_t>(std::clamp<uint64_t>(
      kStepBytes / std::max<uint64_t>(1, RowBytes(objects)), 1, spec.num_layers));
  for (uint32_t layer = 0; layer < spec.num_layers; layer += step) {
    const uint32_t layer_end = std::min(layer + step, spec.num_layers);
    if (!state_.BeginStep()) return;
    for (size_t i = 0; i < objects.size(); ++i) {
      kernels::SegmentRows source;
      source.pages = pages[i].data();
      source.num_pages = static_cast<uint32_t>(pages[i].size());
      source.page_rows = kPageTokens;
      source.layer_stride = uint64_t{kPageTokens} * spec.row_bytes;
      source.num_layers = spec.num_layers;
      source.row_bytes = spec.row_bytes;
      MoveRows(objects[i], source, layer, layer_end);
      CheckStale(objects[i]);
      if (layer_end == spec.num_layers) SettleObject(objects[i], /*mapped=*/true);
    }
    if (last) Announce(layer_end);
    state_.EndStep();
  }
}

}  // namespace cistern::client
