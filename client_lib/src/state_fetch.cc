#include "client_lib/src/state_fetch.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"

#include "base/status_macros.h"
#include "client_lib/src/check_layers.h"
#include "client_lib/src/device/staged_state.h"
#include "client_lib/src/pending_call.h"
#include "client_lib/src/state_blocks.h"
#include "kernels/conv_tail/conv_tail.h"
#include "kernels/recurrence/log_fold.h"

namespace cistern::client {
namespace {

// Between two looks at whether the caller still wants it, and at a time from the node.
constexpr uint64_t kWindowBytes = 16 << 20;
constexpr uint32_t kMaxWindowTokens = 256;  // a fold passes over the state once for so many
constexpr uint32_t kMaxStalls = 6;

bool NeedsConstants(base::StateFamily family) {
  return family == base::StateFamily::kMamba1 || family == base::StateFamily::kMamba2 ||
         family == base::StateFamily::kLightning;
}

// Blocks at a time, of at most `most`.
uint32_t WindowOf(const StateBlocks& blocks, uint32_t most) {
  const uint64_t bytes = std::min(kWindowBytes, blocks.max_read_bytes());
  const uint64_t count = std::max<uint64_t>(1, bytes / blocks.layout().block_bytes);
  return static_cast<uint32_t>(std::min<uint64_t>(count, most));
}

absl::Status BeginStep(FetchState& fetch) {
  return fetch.BeginStep() ? absl::OkStatus()
                           : absl::CancelledError("nobody wants the state any more");
}

}  // namespace

absl::Status ValidateStateView(const base::StateSpec& spec, const StateView& state) {
  CISTERN_RETURN_IF_ERROR(CheckLayers("state.temporal", state.temporal, spec.num_layers));
  if (spec.conv_width == 0) return absl::OkStatus();
  return CheckLayers("state.conv", state.conv, spec.num_layers);
}

absl::Status ValidateStateConstants(const base::StateSpec& spec, const StateConstants& constants) {
  if (!NeedsConstants(spec.family)) return absl::OkStatus();
  return CheckLayers("constants.decay", constants.decay, spec.num_layers);
}

StateFetch::StateFetch(PlanImpl* plan, const StateView& target, const StateConstants& constants,
                       Counters* counters)
    : plan_(*plan),
      spec_(plan->model->spec().state),
      asked_(target),
      constants_(constants),
      counters_(*counters) {}

bool StateFetch::immediate() const {
  return plan_.session != nullptr && plan_.session->mapped() &&
         std::all_of(plan_.states.begin(), plan_.states.end(),
                     [](const PlannedState& state) { return state.lease != 0; });
}

absl::Status StateFetch::Run(FetchState& fetch) {
  const absl::Cleanup give_back = [this] { GiveBack(); };
  CISTERN_RETURN_IF_ERROR(LeaseAll(fetch));
  const absl::StatusOr<StagedState> staged = StagedState::Create(spec_, asked_);
  if (!staged.ok()) return device_error_ = staged.status();
  target_ = staged->host();
  if (plan_.states.front().kind == base::ObjectKind::kLog) CISTERN_RETURN_IF_ERROR(Zero(fetch));
  for (const PlannedState& state : plan_.states) {
    const absl::Status status =
        state.kind == base::ObjectKind::kCheckpoint ? Copy(state, fetch) : Fold(state, fetch);
    if (absl::IsDataLoss(status)) ++counters_.checksum_failures;
    if (absl::IsAborted(status)) ++counters_.stale_reads;
    CISTERN_RETURN_IF_ERROR(status);
  }
  CISTERN_RETURN_IF_ERROR(BeginStep(fetch));
  device_error_ = staged->ToDevice();
  fetch.EndStep();
  return device_error_;
}

// ---- Leases

absl::Status StateFetch::LeaseAll(FetchState& fetch) {
  absl::Duration pause = absl::Milliseconds(1);
  for (uint32_t stalls = 0;; ++stalls, pause *= 2) {
    std::vector<uint32_t> wanted;
    for (uint32_t i = 0; i < plan_.states.size(); ++i) {
      if (plan_.states[i].lease == 0) wanted.push_back(i);
    }
    if (wanted.empty()) return absl::OkStatus();
    bool no_room = false;
    CISTERN_RETURN_IF_ERROR(Lease(wanted, fetch, &no_room));
    if (!no_room) return absl::OkStatus();
    if (stalls == kMaxStalls || !fetch.wanted()) {
      return absl::ResourceExhaustedError("the node has no room to stage the state");
    }
    fetch.Pause(pause);
  }
}

absl::Status StateFetch::Lease(const std::vector<uint32_t>& wanted, FetchState& fetch,
                               bool* no_room) {
  transport::LeaseRequest request;
  for (uint32_t i : wanted) request.objects.push_back(plan_.states[i].id);
  transport::CallOptions options;
  options.deadline = plan_.session->CallDeadline(fetch.deadline());
  options.late = plan_.session->KeepLate();
  CISTERN_ASSIGN_OR_RETURN(transport::LeaseReply reply,
                           CallNow<transport::LeaseReply>(plan_.session->link(), std::move(request),
                                                          std::move(options)));
  if (reply.results.size() != wanted.size()) {
    plan_.session->late_book()->Add(reply);
    return absl::InternalError("the node's answer to Lease has another number of results");
  }
  bool gone = false;
  for (size_t i = 0; i < wanted.size(); ++i) {
    transport::LeaseResult& result = reply.results[i];
    if (result.outcome == transport::LeaseOutcome::kLeased && result.lease != 0) {
      plan_.states[wanted[i]].lease = result.lease;
      plan_.states[wanted[i]].blocks = std::move(result.blocks);
      from_disk_ |= result.from_disk;
    } else if (result.outcome == transport::LeaseOutcome::kNoRoom) {
      *no_room = true;
    } else {
      gone = true;
    }
  }
  return gone ? absl::NotFoundError("a state has gone since the plan was made") : absl::OkStatus();
}

void StateFetch::GiveBack() {
  std::vector<transport::LeaseId> leases;
  for (PlannedState& state : plan_.states) {
    if (state.lease != 0) leases.push_back(std::exchange(state.lease, 0));
  }
  if (!leases.empty()) plan_.session->Release(std::move(leases));
}

// ---- Bytes

absl::Status StateFetch::Copy(const PlannedState& checkpoint, FetchState& fetch) {
  StateBlocks blocks(plan_.session.get(), checkpoint,
                     LayoutOf(spec_, checkpoint.kind, checkpoint.tails, 0));
  const uint32_t window = WindowOf(blocks, spec_.num_layers);
  std::vector<const std::byte*> at;
  const absl::Time start = absl::Now();
  for (uint32_t begin = 0; begin < spec_.num_layers; begin += window) {
    const uint32_t end = std::min(begin + window, spec_.num_layers);
    CISTERN_RETURN_IF_ERROR(blocks.Read(begin, end, fetch.deadline(), &at));
    CISTERN_RETURN_IF_ERROR(BeginStep(fetch));
    for (uint32_t layer = begin; layer < end; ++layer) {
      const std::byte* const from = at[layer - begin];
      std::memcpy(target_.temporal[layer], from, spec_.temporal_bytes());
      if (spec_.conv_width == 0) continue;
      std::memcpy(target_.conv[layer], from + spec_.temporal_bytes(), spec_.conv_bytes());
    }
    fetch.EndStep();
  }
  bytes_ += blocks.layout().payload_bytes;
  moving_ += absl::Now() - start;
  return blocks.Check();
}

// Where a log begins at the first token.
absl::Status StateFetch::Zero(FetchState& fetch) {
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    CISTERN_RETURN_IF_ERROR(BeginStep(fetch));
    std::memset(target_.temporal[layer], 0, spec_.temporal_bytes());
    if (spec_.conv_width > 0) std::memset(target_.conv[layer], 0, spec_.conv_bytes());
    fetch.EndStep();
  }
  return absl::OkStatus();
}

absl::Status StateFetch::Fold(const PlannedState& log, FetchState& fetch) {
  StateBlocks blocks(plan_.session.get(), log,
                     LayoutOf(spec_, log.kind, log.tails, log.num_tokens));
  const uint32_t window = WindowOf(blocks, kMaxWindowTokens);
  std::vector<const std::byte*> at;
  for (uint32_t begin = 0; begin < log.used_tokens; begin += window) {
    const uint32_t end = std::min(begin + window, log.used_tokens);
    const absl::Time start = absl::Now();
    CISTERN_RETURN_IF_ERROR(blocks.Read(begin, end, fetch.deadline(), &at));
    moving_ += absl::Now() - start;
    CISTERN_RETURN_IF_ERROR(FoldTokens(log, at, fetch));
    bytes_ += blocks.layout().BytesOf(begin, end);
  }
  if (log.tails == base::LogTails::kEnd && spec_.conv_width > 0) {
    CISTERN_RETURN_IF_ERROR(CopyTails(log, &blocks, fetch));
  }
  return blocks.Check();
}

absl::Status StateFetch::FoldTokens(const PlannedState& log,
                                    const std::vector<const std::byte*>& blocks,
                                    FetchState& fetch) {
  const uint64_t inputs = spec_.input_bytes(), row = spec_.conv_row_bytes();
  packed_.resize(blocks.size() * std::max(inputs, row));
  scratch_.resize(kernels::LogFoldScratchFloats(spec_));
  const auto pack = [&](uint64_t offset, uint64_t bytes) {
    for (size_t i = 0; i < blocks.size(); ++i) {
      std::memcpy(packed_.data() + i * bytes, blocks[i] + offset, bytes);
    }
  };
  for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
    pack(layer * inputs, inputs);
    kernels::LogFoldParams fold{.spec = spec_};
    fold.log = packed_.data();
    fold.token_stride = inputs;
    fold.num_tokens = static_cast<uint32_t>(blocks.size());
    fold.decay = NeedsConstants(spec_.family) ? constants_.decay[layer] : nullptr;
    fold.state_in = fold.state_out = target_.temporal[layer];
    fold.scratch = scratch_;
    CISTERN_RETURN_IF_ERROR(BeginStep(fetch));
    absl::Status status = kernels::FoldLog(fold);
    if (status.ok() && log.tails == base::LogTails::kEveryToken && spec_.conv_width > 0) {
      pack(spec_.num_layers * inputs + layer * row, row);
      kernels::ConvTailParams tail;
      tail.width = spec_.conv_width;
      tail.channels = spec_.conv_channels;
      tail.tail_in = tail.tail_out = target_.conv[layer];
      tail.inputs = packed_.data();
      tail.input_stride = row;
      tail.num_tokens = fold.num_tokens;
      status = kernels::ConvTail(tail);
    }
    fetch.EndStep();
    CISTERN_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// They lie behind the tokens, one after another, whatever blocks they fall into.
absl::Status StateFetch::CopyTails(const PlannedState& log, StateBlocks* blocks,
                                   FetchState& fetch) {
  const StateLayout& layout = blocks->layout();
  std::vector<const std::byte*> at;
  uint32_t block = log.num_tokens;
  const uint32_t window = WindowOf(*blocks, layout.num_blocks());
  uint64_t tail_at = 0;  // bytes of all tails that are in place
  for (; block < layout.num_blocks(); block += window) {
    const uint32_t end = std::min(block + window, layout.num_blocks());
    CISTERN_RETURN_IF_ERROR(blocks->Read(block, end, fetch.deadline(), &at));
    CISTERN_RETURN_IF_ERROR(BeginStep(fetch));
    for (uint32_t i = block; i < end; ++i) {
      uint64_t left = layout.BytesOf(i, i + 1);
      for (const std::byte* from = at[i - block]; left > 0;) {
        const uint64_t layer = tail_at / spec_.conv_bytes(), offset = tail_at % spec_.conv_bytes();
        const uint64_t bytes = std::min(left, spec_.conv_bytes() - offset);
        std::memcpy(target_.conv[layer] + offset, from, bytes);
        from += bytes;
        left -= bytes;
        tail_at += bytes;
      }
    }
    fetch.EndStep();
  }
  bytes_ += tail_at;
  return absl::OkStatus();
}

}  // namespace cistern::client
