#include "cistern/state_recorder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "client_lib/src/device/staged_state.h"
#include "client_lib/src/state_fetch.h"
#include "client_lib/src/state_plan.h"
#include "kernels/conv_tail/conv_tail.h"
#include "kernels/recurrence/log_fold.h"

namespace cistern {

class StateRecorder::Impl {
 public:
  Impl(Client* client, const ModelSpec& model, std::span<const TokenId> tokens,
       const StateConstants& constants, Options options)
      : client_(*client),
        model_(model),
        spec_(model_.state),
        constants_(constants),
        options_(std::move(options)),
        tokens_(tokens.begin(), tokens.end()),
        folded_(position()),
        temporal_(spec_.num_layers, std::vector<std::byte>(spec_.temporal_bytes())),
        conv_(spec_.conv_width == 0 ? 0 : spec_.num_layers,
              std::vector<std::byte>(spec_.conv_bytes())),
        tail_(conv_),
        inputs_(spec_.num_layers),
        rows_(spec_.num_layers) {}

  absl::Status Begin(const StateView& begin, const FetchResult& fetched) {
    if (folded_ == 0) return absl::OkStatus();
    CISTERN_ASSIGN_OR_RETURN(const client::StagedState staged,
                             client::StagedState::Create(spec_, begin));
    CISTERN_RETURN_IF_ERROR(staged.FromDevice());
    const StateView& state = staged.host();
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      std::memcpy(temporal_[layer].data(), state.temporal[layer], spec_.temporal_bytes());
      if (spec_.conv_width == 0) continue;
      std::memcpy(conv_[layer].data(), state.conv[layer], spec_.conv_bytes());
    }
    tail_ = conv_;
    known_ = fetched.stored_position;
    known_chain_ = fetched.stored_chain_tokens;
    return absl::OkStatus();
  }

  absl::Status Append(std::span<const TokenId> tokens, const LogSource& inputs) {
    CISTERN_RETURN_IF_ERROR(Validate(tokens, inputs));
    const std::vector<uint64_t> widths = spec_.field_bytes();
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      for (size_t token = 0; token < tokens.size(); ++token) {
        for (size_t field = 0; field < widths.size(); ++field) {
          Copy(inputs.fields[field], layer, token, widths[field], &inputs_[layer]);
        }
        if (spec_.conv_width == 0) continue;
        Copy(inputs.conv_rows, layer, token, spec_.conv_row_bytes(), &rows_[layer]);
      }
    }
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    return absl::OkStatus();
  }

  absl::StatusOr<StateReport> Flush() {
    if (position() == known_) return StateReport{};
    const uint32_t chain = known_chain_ + position() - known_;
    // Without a state that the node has there is nothing that a log could continue; and one object
    // takes so many tokens.
    if (known_ < folded_ || chain > client::LongestChain(spec_, options_.policy) ||
        position() - known_ > base::ObjectHeader::kMaxTokens) {
      CISTERN_RETURN_IF_ERROR(Fold());
    }
    CISTERN_ASSIGN_OR_RETURN(StateReport report, Publish());
    if (report.without_base > 0) {
      CISTERN_RETURN_IF_ERROR(Fold());
      CISTERN_ASSIGN_OR_RETURN(report, Publish());
    }
    if (report.dropped == 0) {
      known_chain_ = folded_ == position() ? 0 : chain;
      known_ = position();
    }
    return report;
  }

  uint32_t position() const { return static_cast<uint32_t>(tokens_.size()); }
  uint32_t known() const { return known_; }
  uint32_t known_chain() const { return known_chain_; }

 private:
  static void Copy(const LogSource::Field& field, uint32_t layer, size_t token, uint64_t bytes,
                   std::vector<std::byte>* to) {
    const std::byte* const from = field.layers[layer] + token * field.token_stride;
    to->insert(to->end(), from, from + bytes);
  }

  absl::Status Validate(std::span<const TokenId> tokens, const LogSource& inputs) const {
    if (inputs.begin != position() || inputs.end != position() + tokens.size()) {
      return absl::InvalidArgumentError(absl::StrCat("inputs of [", inputs.begin, ", ", inputs.end,
                                                     "): the next ", tokens.size(),
                                                     " tokens begin at ", position()));
    }
    return client::ValidateLogFields(spec_, inputs, /*conv_rows=*/true);
  }

  // Tails of [folded_, position()).
  absl::Status MoveTails(const std::vector<std::vector<std::byte>>& from,
                         std::vector<std::vector<std::byte>>* to) const {
    for (uint32_t layer = 0; layer < conv_.size(); ++layer) {
      kernels::ConvTailParams tail;
      tail.width = spec_.conv_width;
      tail.channels = spec_.conv_channels;
      tail.tail_in = from[layer].data();
      tail.tail_out = (*to)[layer].data();
      tail.inputs = rows_[layer].data();
      tail.input_stride = spec_.conv_row_bytes();
      tail.num_tokens = position() - folded_;
      CISTERN_RETURN_IF_ERROR(kernels::ConvTail(tail));
    }
    return absl::OkStatus();
  }

  // The copy of the state moves to the last token, and the inputs are done with.
  absl::Status Fold() {
    std::vector<float> scratch(kernels::LogFoldScratchFloats(spec_));
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      kernels::LogFoldParams fold{.spec = spec_};
      fold.log = inputs_[layer].data();
      fold.token_stride = spec_.input_bytes();
      fold.num_tokens = position() - folded_;
      fold.decay = constants_.decay.empty() ? nullptr : constants_.decay[layer];
      fold.state_in = fold.state_out = temporal_[layer].data();
      fold.scratch = scratch;
      CISTERN_RETURN_IF_ERROR(kernels::FoldLog(fold));
    }
    CISTERN_RETURN_IF_ERROR(MoveTails(conv_, &tail_));
    conv_ = tail_;
    for (uint32_t layer = 0; layer < spec_.num_layers; ++layer) {
      inputs_[layer].clear();
      rows_[layer].clear();
    }
    folded_ = position();
    return absl::OkStatus();
  }

  // The state at the last token: as a checkpoint if it has been folded, otherwise as a log.
  absl::StatusOr<StateReport> Publish() {
    StateSource source;
    source.points.push_back({position(), {}});
    StateView& state = source.points[0].state;
    if (folded_ == position()) {
      for (auto& layer : temporal_) state.temporal.push_back(layer.data());
    } else {
      source.log = Log();
    }
    CISTERN_RETURN_IF_ERROR(MoveTails(conv_, &tail_));
    for (auto& layer : tail_) state.conv.push_back(layer.data());
    FetchResult from;
    from.stored_position = known_;
    from.stored_chain_tokens = known_chain_;
    return client_.PublishStates(model_, tokens_, from, source, options_.policy,
                                 options_.part_boundaries);
  }

  LogSource Log() const {
    LogSource log;
    log.begin = folded_;
    log.end = position();
    uint64_t offset = 0;
    for (uint64_t width : spec_.field_bytes()) {
      LogSource::Field& field = log.fields.emplace_back();
      field.token_stride = spec_.input_bytes();
      for (const auto& layer : inputs_) field.layers.push_back(layer.data() + offset);
      offset += width;
    }
    log.conv_rows.token_stride = spec_.conv_row_bytes();
    for (const auto& layer : rows_) log.conv_rows.layers.push_back(layer.data());
    return log;
  }

  Client& client_;
  const ModelSpec model_;
  const base::StateSpec& spec_;
  const StateConstants constants_;
  const Options options_;
  std::vector<TokenId> tokens_;
  uint32_t folded_;           // the copy of the state is behind this token
  uint32_t known_ = 0;        // the node has the state behind this one
  uint32_t known_chain_ = 0;  // tokens that it folds for that
  std::vector<std::vector<std::byte>> temporal_, conv_;  // [state layers], at folded_
  std::vector<std::vector<std::byte>> tail_;             // at the last token
  std::vector<std::vector<std::byte>> inputs_, rows_;    // [state layers], since folded_
};

absl::StatusOr<std::unique_ptr<StateRecorder>> StateRecorder::Create(
    Client* client, const ModelSpec& model, std::span<const TokenId> tokens,
    const FetchResult& fetched, const StateView& state, const StateConstants& constants,
    Options options) {
  CISTERN_RETURN_IF_ERROR(model.Validate());
  if (!model.state.present()) {
    return absl::InvalidArgumentError("the model has no recurrent layers");
  }
  CISTERN_RETURN_IF_ERROR(client::ValidateStateConstants(model.state, constants));
  if (fetched.stored_position > tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "fetched: stored_position is ", fetched.stored_position, " of ", tokens.size(), " tokens"));
  }
  if (!tokens.empty()) CISTERN_RETURN_IF_ERROR(client::ValidateStateView(model.state, state));
  auto impl = std::make_unique<Impl>(client, model, tokens, constants, std::move(options));
  CISTERN_RETURN_IF_ERROR(impl->Begin(state, fetched));
  return absl::WrapUnique(new StateRecorder(std::move(impl)));
}

StateRecorder::StateRecorder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
StateRecorder::~StateRecorder() = default;

absl::Status StateRecorder::Append(std::span<const TokenId> tokens, const LogSource& inputs) {
  return impl_->Append(tokens, inputs);
}
absl::StatusOr<StateReport> StateRecorder::Flush() { return impl_->Flush(); }
uint32_t StateRecorder::position() const { return impl_->position(); }
uint32_t StateRecorder::flushed_position() const { return impl_->known(); }
uint32_t StateRecorder::chain_tokens() const { return impl_->known_chain(); }

}  // namespace cistern
