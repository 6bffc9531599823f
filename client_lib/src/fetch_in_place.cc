// Rows read where they lie in the node's arena, mapped into this process.
#include <algorithm>

#include "client_lib/src/fetch_run.h"
#include "client_lib/src/mapped_blocks.h"

namespace cistern::client {
namespace {

constexpr uint32_t kPageTokens = base::ModelSpec::kPageTokens;
// Between two looks at whether the caller still wants it.
constexpr uint64_t kStepBytes = 4 << 20;

uint32_t NumPages(uint32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

}  // namespace

bool FetchRun::BlocksFit(uint32_t object) const {
  const PlannedObject& planned = plan_.objects[object];
  return planned.blocks.size() == NumPages(planned.num_tokens) &&
         LieWithin(plan_.session->link(), plan_.model->spec().page_bytes(), planned.blocks);
}

void FetchRun::CheckStale(uint32_t object) {
  const bool lost = std::all_of(spans_of_[object].begin(), spans_of_[object].end(),
                                [&](uint32_t i) { return spans_[i].lost; });
  if (lost || StillThere(plan_.session->link(), plan_.session->incarnation(),
                         plan_.objects[object].blocks)) {
    return;
  }
  ++counters_.stale_reads;
  Lose(object);
}

FetchRun::InPlace FetchRun::StartInPlace(const std::vector<uint32_t>& objects, bool last) {
  const std::byte* const arena = plan_.session->link().arena();
  InPlace pass;
  pass.objects = objects;
  pass.last = last;
  pass.pages.resize(objects.size());
  for (size_t i = 0; i < objects.size(); ++i) {
    if (!BlocksFit(objects[i])) {
      Lose(objects[i]);
      continue;
    }
    const std::vector<base::BlockRef>& blocks = plan_.objects[objects[i]].blocks;
    pass.pages[i].reserve(blocks.size());
    for (const base::BlockRef& block : blocks) pass.pages[i].push_back(arena + block.offset);
  }
  return pass;
}

bool FetchRun::MoveInPlace(InPlace* pass, uint32_t layers) {
  const base::ModelSpec& spec = plan_.model->spec();
  const uint64_t layer_bytes = std::max<uint64_t>(1, RowBytes(pass->objects));
  if (!pass->last) pass->step_bytes = kStepBytes;  // nobody looks before its end
  while (pass->next_layer < layers) {
    const auto step = static_cast<uint32_t>(
        std::clamp<uint64_t>(pass->step_bytes / layer_bytes, 1, spec.num_layers));
    const uint32_t layer_end = std::min(pass->next_layer + step, spec.num_layers);
    pass->step_bytes = std::min(kStepBytes, layer_bytes * step * 2);
    if (!state_.BeginStep()) return true;
    for (size_t i = 0; i < pass->objects.size(); ++i) {
      const uint32_t object = pass->objects[i];
      kernels::SegmentRows source;
      source.pages = pass->pages[i].data();
      source.num_pages = static_cast<uint32_t>(pass->pages[i].size());
      source.page_rows = kPageTokens;
      source.layer_stride = uint64_t{kPageTokens} * spec.row_bytes;
      source.num_layers = spec.num_layers;
      source.row_bytes = spec.row_bytes;
      MoveRows(object, source, pass->next_layer, layer_end);
      CheckStale(object);
      if (layer_end == spec.num_layers) SettleObject(object, /*mapped=*/true);
    }
    if (pass->last) Announce(layer_end);
    state_.EndStep();
    pass->next_layer = layer_end;
  }
  return pass->next_layer == spec.num_layers;
}

}  // namespace cistern::client
