#include "client_lib/src/state_blocks.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "client_lib/src/mapped_blocks.h"
#include "client_lib/src/pending_call.h"

namespace cistern::client {

StateLayout LayoutOf(const base::StateSpec& spec, base::ObjectKind kind, base::LogTails tails,
                     uint32_t num_tokens) {
  if (kind == base::ObjectKind::kCheckpoint) return {spec.layer_bytes(), spec.checkpoint_bytes()};
  return {spec.log_token_bytes(tails), spec.log_bytes(num_tokens, tails)};
}

StateBlocks::StateBlocks(Session* session, const PlannedState& state, const StateLayout& layout)
    : session_(*session), state_(state), layout_(layout) {}

absl::Status StateBlocks::Read(uint32_t begin, uint32_t end, absl::Time until,
                               std::vector<const std::byte*>* blocks) {
  blocks->clear();
  if (session_.mapped()) {
    if (state_.blocks.size() != layout_.num_blocks() ||
        !LieWithin(session_.link(), layout_.block_bytes, state_.blocks)) {
      return absl::DataLossError("the node has leased blocks that cannot be");
    }
    for (uint32_t i = begin; i < end; ++i) {
      blocks->push_back(session_.link().arena() + state_.blocks[i].offset);
    }
    return absl::OkStatus();
  }
  const uint64_t bytes = layout_.BytesOf(begin, end);
  buffer_ = Staging::Lent();  // it would wait for itself
  CISTERN_ASSIGN_OR_RETURN(buffer_, session_.staging().Take(bytes, until));
  transport::CallOptions options;
  options.deadline = session_.CallDeadline(until);
  options.receive = {buffer_.bytes(bytes)};
  CISTERN_ASSIGN_OR_RETURN(
      const auto reply,
      CallNow<transport::ReadReply>(
          session_.link(), transport::ReadRequest{{state_.lease}, begin, end}, std::move(options)));
  if (reply.payload_bytes != bytes) {
    return absl::DataLossError("the node sent another number of bytes than was asked for");
  }
  for (uint32_t i = begin; i < end; ++i) {
    blocks->push_back(buffer_.bytes(bytes).data() + (i - begin) * layout_.block_bytes);
  }
  return absl::OkStatus();
}

uint64_t StateBlocks::max_read_bytes() const {
  return session_.mapped() ? layout_.payload_bytes : session_.staging().max_bytes() / 4;
}

absl::Status StateBlocks::Check() const {
  if (!session_.mapped() || StillThere(session_.link(), session_.incarnation(), state_.blocks)) {
    return absl::OkStatus();
  }
  return absl::AbortedError("the node has given the state's blocks to somebody else");
}

}  // namespace cistern::client
