#include "tools/bench/states/states_case.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace cistern::tools {
namespace {

using kernels::Recurrence;

// From the models' config.json.
const std::vector<StatesLayer>& Layers() {
  static const std::vector<StatesLayer>* const layers = new std::vector<StatesLayer>{
      {.model = "qwen3-next",
       .family = "gated-delta",
       .shape = {Recurrence::kGatedDelta, 32, 16, 128, 128}},
      {.model = "kimi-linear", .family = "kda", .shape = {Recurrence::kKda, 32, 32, 128, 128}},
      {.model = "nemotron-h-8b",
       .family = "mamba-2",
       .shape = {Recurrence::kScalarDecay, 128, 8, 128, 64},
       .rates = true},
      {.model = "minimax-text-01",
       .family = "lightning",
       .shape = {Recurrence::kScalarDecay, 64, 64, 128, 128},
       .constant_decay = true},
      {.model = "gla", .family = "gla", .shape = {Recurrence::kDiagonalDecay, 32, 32, 128, 128}},
      {.model = "jamba-1.5-mini",
       .family = "mamba-1",
       .shape = {Recurrence::kDiagonalDecay, 1, 1, 16, 8192},
       .mamba1 = true},
  };
  return *layers;
}

void AddCases(StatesKernel kernel, uint32_t batch, std::vector<StatesCase>& cases) {
  for (const StatesLayer& layer : Layers()) {
    std::vector<uint32_t> tokens;
    if (kernel == StatesKernel::kFold) tokens = {16, 64};
    if (kernel == StatesKernel::kDecode) tokens = {16, 32};
    if (kernel == StatesKernel::kVerify) tokens = {4, 8};
    if (layer.mamba1 && kernel != StatesKernel::kFold) continue;
    for (const uint32_t count : tokens) cases.push_back({kernel, layer, batch, count});
  }
}

}  // namespace

std::string StatesLayer::ShapeText() const {
  if (mamba1) return absl::StrCat(shape.value_dim, " x ", shape.key_dim);
  return absl::StrCat(shape.num_heads, "/", shape.num_key_heads, " x ", shape.value_dim, " x ",
                      shape.key_dim);
}

absl::string_view KernelName(StatesKernel kernel) {
  switch (kernel) {
    case StatesKernel::kFold:
      return "fold";
    case StatesKernel::kDecode:
      return "decode";
    case StatesKernel::kVerify:
      return "verify";
  }
  return "";
}

absl::StatusOr<std::vector<StatesCase>> ParseStatesCases(absl::string_view kernels,
                                                         uint32_t batch) {
  if (batch == 0 || batch > 256) return absl::InvalidArgumentError("--batch: from 1 to 256");
  std::vector<StatesCase> cases;
  for (const absl::string_view word : absl::StrSplit(kernels, ',', absl::SkipWhitespace())) {
    const absl::string_view name = absl::StripAsciiWhitespace(word);
    bool found = false;
    for (const StatesKernel kernel :
         {StatesKernel::kFold, StatesKernel::kDecode, StatesKernel::kVerify}) {
      if (KernelName(kernel) != name) continue;
      found = true;
      AddCases(kernel, batch, cases);
    }
    if (!found) {
      return absl::InvalidArgumentError(
          absl::StrCat("--kernels: there is no '", name, "'; there are fold, decode, verify"));
    }
  }
  if (cases.empty()) return absl::InvalidArgumentError("--kernels names none");
  return cases;
}

}  // namespace cistern::tools
