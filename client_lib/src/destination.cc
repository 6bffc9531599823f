#include "client_lib/src/destination.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::client {

Destination::Destination(const PagedCache& cache, const FetchOptions& options)
    : layers_(cache.layer_base),
      block_table_(cache.block_table.begin(), cache.block_table.end()),
      num_blocks_(cache.num_blocks),
      block_tokens_(cache.block_tokens),
      block_stride_(cache.block_stride),
      row_stride_(cache.row_stride),
      device_(cache.device),
      pre_rope_(options.pre_rope),
      pre_rope_stride_(options.pre_rope_stride),
      pre_rope_everywhere_(options.pre_rope_everywhere) {}

kernels::PagedCache Destination::View() const {
  kernels::PagedCache view;
  view.layers = layers_.data();
  view.num_layers = static_cast<uint32_t>(layers_.size());
  view.block_table = block_table_.data();
  view.table_blocks = static_cast<uint32_t>(block_table_.size());
  view.num_blocks = static_cast<uint32_t>(std::min<uint64_t>(num_blocks_, UINT32_MAX));
  view.block_size = block_tokens_;
  view.block_stride = block_stride_;
  view.row_stride = row_stride_;
  return view;
}

absl::Status Destination::Validate(const base::ModelSpec& spec,
                                   const std::vector<Span>& spans) const {
  if (layers_.size() != spec.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer_base has ", layers_.size(), " layers, the model ", spec.num_layers));
  }
  if (has_pre_rope()) {
    if (pre_rope_.size() != spec.num_layers) {
      return absl::InvalidArgumentError(
          absl::StrCat("pre_rope has ", pre_rope_.size(), " layers, the model ", spec.num_layers));
    }
    if (pre_rope_stride_ < spec.rotary_bytes()) {
      return absl::InvalidArgumentError("pre_rope_stride is below the rotary part's size");
    }
    if (std::count(pre_rope_.begin(), pre_rope_.end(), nullptr) != 0) {
      return absl::InvalidArgumentError("pre_rope has a null layer");
    }
  }
  for (const Span& span : spans) {
    if (span.kind == SpanKind::kCompute) continue;
    const kernels::RowRange range{0, spec.num_layers, 0, span.end - span.begin, span.begin};
    CISTERN_RETURN_IF_ERROR(kernels::ValidateCache(View(), range, spec.row_bytes));
  }
  return absl::OkStatus();
}

kernels::ConstPagedCache ViewOf(const PagedCache& cache) {
  kernels::ConstPagedCache view;
  view.layers = const_cast<const std::byte* const*>(cache.layer_base.data());
  view.num_layers = static_cast<uint32_t>(cache.layer_base.size());
  view.block_table = cache.block_table.data();
  view.table_blocks = static_cast<uint32_t>(cache.block_table.size());
  view.num_blocks = static_cast<uint32_t>(std::min<uint64_t>(cache.num_blocks, UINT32_MAX));
  view.block_size = cache.block_tokens;
  view.block_stride = cache.block_stride;
  view.row_stride = cache.row_stride;
  return view;
}

}  // namespace cistern::client
