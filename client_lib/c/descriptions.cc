// What several calls take: prompts, caches, rows, states.
#include "base/status_macros.h"
#include "cistern/device_memory.h"
#include "client_lib/c/handles.h"

namespace cistern::c {

absl::Status ReadPrompt(const cistern_prompt* prompt, Prompt* to) {
  cistern_prompt in{};
  CISTERN_RETURN_IF_ERROR(TakeIn(prompt, "prompt", &in));
  CISTERN_RETURN_IF_ERROR(NeedArray(in.tokens, in.num_tokens, "prompt.tokens"));
  CISTERN_RETURN_IF_ERROR(
      NeedArray(in.part_boundaries, in.num_boundaries, "prompt.part_boundaries"));
  to->tokens = {in.tokens, in.num_tokens};
  to->parts = {in.part_boundaries, in.num_boundaries};
  return absl::OkStatus();
}

namespace {

constexpr int32_t kHostOfAbi1 = -1;

absl::Status ReadPlace(int32_t memory, int32_t device, absl::string_view name, DeviceMemory** to) {
  if (memory == CISTERN_HOST || memory == kHostOfAbi1) return absl::OkStatus();
  if (memory != CISTERN_CUDA) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ".memory is ", memory, ", not CISTERN_HOST (0) or CISTERN_CUDA (1)"));
  }
  CISTERN_ASSIGN_OR_RETURN(*to, CudaMemory(device));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadCache(const cistern_paged_cache* cache, const base::ModelSpec& spec,
                       absl::string_view name, PagedCache* to) {
  cistern_paged_cache in{};
  CISTERN_RETURN_IF_ERROR(TakeIn(cache, name, &in));
  CISTERN_RETURN_IF_ERROR(ReadPlace(in.memory, in.device, name, &to->device));
  CISTERN_RETURN_IF_ERROR(Need(in.layer_base, absl::StrCat(name, ".layer_base")));
  CISTERN_RETURN_IF_ERROR(
      NeedArray(in.block_table, in.block_table_entries, absl::StrCat(name, ".block_table")));
  to->layer_base = Pointers<std::byte>(in.layer_base, spec.num_layers);
  to->block_table = {in.block_table, in.block_table_entries};
  to->num_blocks = in.num_blocks;
  to->block_tokens = in.block_tokens;
  to->block_stride = in.block_stride;
  to->row_stride = in.row_stride;
  return absl::OkStatus();
}

absl::Status ReadRows(const cistern_rows* rows, const base::ModelSpec& spec, RowSource* to) {
  cistern_rows in{};
  CISTERN_RETURN_IF_ERROR(TakeIn(rows, "rows", &in));
  CISTERN_RETURN_IF_ERROR(ReadCache(in.cache, spec, "rows.cache", &to->cache));
  if (in.pre_rope == nullptr) return absl::OkStatus();
  to->pre_rope = Pointers<std::byte>(in.pre_rope, spec.num_layers);
  to->pre_rope_stride = in.pre_rope_stride;
  return absl::OkStatus();
}

absl::Status ReadState(const cistern_state* state, const base::StateSpec& spec,
                       absl::string_view name, bool need_temporal, StateView* to) {
  cistern_state in{};
  CISTERN_RETURN_IF_ERROR(TakeIn(state, name, &in));
  CISTERN_RETURN_IF_ERROR(ReadPlace(in.memory, in.device, name, &to->device));
  if (need_temporal) {
    CISTERN_RETURN_IF_ERROR(Need(in.temporal, absl::StrCat(name, ".temporal")));
  }
  if (in.temporal != nullptr) to->temporal = Pointers<std::byte>(in.temporal, spec.num_layers);
  if (spec.conv_width == 0) return absl::OkStatus();
  CISTERN_RETURN_IF_ERROR(Need(in.conv, absl::StrCat(name, ".conv")));
  to->conv = Pointers<std::byte>(in.conv, spec.num_layers);
  return absl::OkStatus();
}

std::vector<cistern_span> SpansOf(const std::vector<Span>& spans) {
  std::vector<cistern_span> out;
  out.reserve(spans.size());
  for (const Span& span : spans) {
    cistern_span one{};
    one.begin = span.begin;
    one.end = span.end;
    one.kind = static_cast<int32_t>(span.kind);
    one.lossless = span.lossless ? 1 : 0;
    one.on_disk = span.on_disk ? 1 : 0;
    one.native = span.native ? 1 : 0;
    one.pre_rope = span.pre_rope ? 1 : 0;
    one.source_position = span.source_position;
    out.push_back(one);
  }
  return out;
}

std::vector<cistern_range> RangesOf(const std::vector<TokenRange>& ranges) {
  std::vector<cistern_range> out;
  out.reserve(ranges.size());
  for (const TokenRange& range : ranges) out.push_back({range.begin, range.end});
  return out;
}

}  // namespace cistern::c
