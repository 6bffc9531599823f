#include "transport/shm/frame_reader.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace cistern::transport {
namespace {

constexpr size_t kUsualBytes = 64 << 10;
constexpr size_t kKeepBytes =
    1 << 20;  // a buffer that has grown beyond it is given back when empty
constexpr size_t kLeastSpace = 4 << 10;

absl::Status CheckHeader(const FrameHeader& header) {
  if (header.magic != kFrameMagic || header.reserved != 0) {
    return absl::InvalidArgumentError("not a frame: is something else talking on this socket?");
  }
  if (header.length > kMaxFrameBytes) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of ", header.length, " bytes; at most ",
                                                   kMaxFrameBytes, " are taken"));
  }
  if (header.kind < FrameKind::kMessage || header.kind > FrameKind::kFilled ||
      (header.flags & ~(kHasFd | kHasPayload | kCrowded)) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a frame of the unknown kind ",
                                                   static_cast<uint16_t>(header.kind), ", flags ",
                                                   header.flags));
  }
  return absl::OkStatus();
}

}  // namespace

FrameReader::FrameReader() : words_(kUsualBytes / sizeof(uint64_t)) {}

std::span<std::byte> FrameReader::Space() {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (capacity() > kKeepBytes) std::vector<uint64_t>(kUsualBytes / sizeof(uint64_t)).swap(words_);
  }
  if (capacity() - end_ < kLeastSpace && begin_ > 0) {
    memmove(data(), data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (capacity() - end_ < kLeastSpace) words_.resize(words_.size() * 2);
  return {data() + end_, capacity() - end_};
}

absl::StatusOr<bool> FrameReader::Next(FrameView* frame) {
  const size_t there = end_ - begin_;
  if (there < sizeof(FrameHeader)) return false;
  memcpy(&frame->header, data() + begin_, sizeof(FrameHeader));
  absl::Status status = CheckHeader(frame->header);
  if (!status.ok()) return status;
  if (there - sizeof(FrameHeader) < frame->header.length) return false;
  frame->body = {data() + begin_ + sizeof(FrameHeader), frame->header.length};
  begin_ += sizeof(FrameHeader) + frame->header.length;
  return true;
}

}  // namespace cistern::transport
