#include "transport/shm/buffer_table.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"

namespace cistern::transport {
namespace {

// Counts for as long as anybody has the mapping.
struct ChargedMapping {
  ChargedMapping(const std::shared_ptr<ByteBudget>& session, const std::shared_ptr<ByteBudget>& all,
                 uint64_t bytes)
      : of_session(session, bytes), of_all(all, bytes) {}
  Charge of_session, of_all;
  std::shared_ptr<Mapping> memory;  // goes first
};

absl::Status OverBudget(absl::string_view whose, const ByteBudget& budget, uint64_t bytes) {
  return absl::ResourceExhaustedError(absl::StrCat("a buffer of ", bytes, " bytes, where ", whose,
                                                   " has mapped ", budget.used(), " of ",
                                                   budget.limit()));
}

// Copies the next `T` off the front of `bytes`.
template <typename T>
absl::Status Take(std::span<const std::byte>* bytes, T* out) {
  if (bytes->size() < sizeof(T)) {
    return absl::InvalidArgumentError(
        "a frame is too short for the payload slices that it announces");
  }
  memcpy(out, bytes->data(), sizeof(T));
  *bytes = bytes->subspan(sizeof(T));
  return absl::OkStatus();
}

}  // namespace

absl::Status BufferTable::Add(const BufferNotice& notice, UniqueFd fd) {
  if (buffers_.size() >= kMaxBuffers) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kMaxBuffers, " buffers in one session"));
  }
  if (notice.bytes == 0 || notice.bytes > kMaxBufferBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a buffer of ", notice.bytes, " bytes; it must have 1 to ", kMaxBufferBytes));
  }
  if (buffers_.contains(notice.buffer)) {
    return absl::InvalidArgumentError(absl::StrCat("buffer ", notice.buffer, " exists already"));
  }
  CISTERN_RETURN_IF_ERROR(CheckMemfd(fd.get(), notice.bytes));
  CISTERN_ASSIGN_OR_RETURN(auto memory, Map(fd.get(), notice.bytes));
  buffers_[notice.buffer] = std::move(memory);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Mapping>> BufferTable::Map(int fd, uint64_t bytes) {
  auto charged = std::make_shared<ChargedMapping>(own_, all_, bytes);
  if (!charged->of_session.granted()) return OverBudget("the session", *own_, bytes);
  if (!charged->of_all.granted()) return OverBudget("the server", *all_, bytes);
  CISTERN_ASSIGN_OR_RETURN(charged->memory, Mapping::Map(fd, bytes, Mapping::Access::kReadWrite));
  Mapping* const memory = charged->memory.get();
  return std::shared_ptr<Mapping>(std::move(charged), memory);
}

absl::Status BufferTable::Drop(const BufferNotice& notice) {
  if (buffers_.erase(notice.buffer) != 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("there is no buffer ", notice.buffer));
}

absl::Status BufferTable::SetTickets(const BufferNotice& notice, UniqueFd fd) {
  if (tickets_ != nullptr) return absl::InvalidArgumentError("the tickets come twice");
  if (notice.bytes == 0 || notice.bytes > kMaxBufferBytes ||
      notice.bytes % sizeof(TicketLine) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(notice.bytes, " bytes of tickets"));
  }
  CISTERN_RETURN_IF_ERROR(CheckMemfd(fd.get(), notice.bytes));
  CISTERN_ASSIGN_OR_RETURN(tickets_, Map(fd.get(), notice.bytes));
  return absl::OkStatus();
}

absl::StatusOr<ResolvedPayload> BufferTable::Resolve(std::span<const std::byte>* body) const {
  PayloadTable table;
  CISTERN_RETURN_IF_ERROR(Take(body, &table));
  if (table.send_slices > kMaxSlices || table.receive_slices > kMaxSlices) {
    return absl::InvalidArgumentError(
        absl::StrCat("a payload of more than ", kMaxSlices, " slices"));
  }
  ResolvedPayload payload;
  WireSlice slice;
  for (uint32_t i = 0; i < table.send_slices; ++i) {
    CISTERN_RETURN_IF_ERROR(Take(body, &slice));
    CISTERN_ASSIGN_OR_RETURN(const MutableSlice bytes, ResolveOne(slice, &payload));
    payload.send.push_back(bytes);
  }
  for (uint32_t i = 0; i < table.receive_slices; ++i) {
    CISTERN_RETURN_IF_ERROR(Take(body, &slice));
    CISTERN_ASSIGN_OR_RETURN(const MutableSlice bytes, ResolveOne(slice, &payload));
    payload.receive.push_back(bytes);
  }
  if (table.receive_slices > 0 || table.ticket_word != 0) {
    if (tickets_ == nullptr || table.ticket >= tickets_->bytes() / sizeof(TicketLine)) {
      return absl::InvalidArgumentError(absl::StrCat("there is no ticket ", table.ticket));
    }
    payload.tickets = tickets_;
    payload.ticket = {table.ticket, table.ticket_word};
  }
  if (table.flags > kFollow ||
      (table.flags == kFollow && (payload.send.empty() || payload.ticket.word == 0))) {
    return absl::InvalidArgumentError(
        absl::StrCat("payload flags ", table.flags, " with ", payload.send.size(), " slices"));
  }
  payload.follow = table.flags == kFollow;
  return payload;
}

absl::StatusOr<MutableSlice> BufferTable::ResolveOne(const WireSlice& slice,
                                                     ResolvedPayload* payload) const {
  const auto it = buffers_.find(slice.buffer);
  if (it == buffers_.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a payload in buffer ", slice.buffer, ", which does not exist"));
  }
  const uint64_t size = it->second->bytes();
  if (slice.offset > size || slice.bytes > size - slice.offset) {
    return absl::InvalidArgumentError(absl::StrCat("a payload of ", slice.bytes, " bytes at ",
                                                   slice.offset, " in a buffer of ", size));
  }
  if (payload->keep.empty() || payload->keep.back() != it->second)
    payload->keep.push_back(it->second);
  return MutableSlice(it->second->data() + slice.offset, slice.bytes);
}

}  // namespace cistern::transport
