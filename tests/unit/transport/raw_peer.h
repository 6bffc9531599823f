// A peer that speaks the frames by hand, and not always well.
//
// Thread   one
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "transport/shm/frame.h"
#include "transport/shm/unique_fd.h"
#include "transport/wire/codec.h"

namespace cistern::transport {

class RawPeer {
 public:
  explicit RawPeer(const std::string& path);  // connects
  explicit RawPeer(UniqueFd socket)
      : socket_(std::move(socket)) {}  // has been accepted: plays the node

  void SendBytes(std::span<const std::byte> bytes);
  void SendBytes(const std::string& bytes) { SendBytes(std::as_bytes(std::span(bytes))); }
  // A frame; `header.length` is filled in unless it has been set. `fds` ride on its first byte.
  void SendFrame(FrameHeader header, const std::string& body, const std::vector<int>& fds = {});
  void SendMessage(const RequestHead& head, const Request& request);
  // A message with a payload table in front; the counts in `table` may lie.
  void SendWithPayload(const RequestHead& head, const Request& request, const PayloadTable& table,
                       const std::vector<WireSlice>& slices);
  void SendNotice(FrameKind kind, const BufferNotice& notice, const std::vector<int>& fds);

  // Says hello and expects the answer.
  void Hello();

  // The next reply; nothing at the end of the stream.
  std::optional<ReplyEnvelope> Receive();
  // As a node: the next frame of any kind, its descriptor in `fd`.
  bool ReceiveFrame(FrameHeader* header, std::string* body, UniqueFd* fd);
  // As a node: answers the hello that comes next.
  void AnswerHello(const HelloReply& reply, int arena_fd = -1);
  void SendReply(uint64_t call_id, const Reply& reply, uint64_t payload_bytes = 0);
  // True when the node closes the connection (waits for that, at most twenty seconds).
  bool WaitForEnd();

  int socket() const { return socket_.get(); }

 private:
  bool ReadExactly(std::span<std::byte> bytes);

  UniqueFd socket_;
};

// The bytes of `value`, for building bodies.
template <typename T>
std::string RawBytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

}  // namespace cistern::transport
