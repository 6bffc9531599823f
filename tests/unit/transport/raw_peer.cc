#include "tests/unit/transport/raw_peer.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "gtest/gtest.h"

#include "transport/shm/frame_reader.h"

namespace cistern::transport {

RawPeer::RawPeer(const std::string& path)
    : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  EXPECT_EQ(connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0)
      << strerror(errno);
  const timeval patience = {.tv_sec = 20, .tv_usec = 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

void RawPeer::SendBytes(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the node has hung up already, as it may
    bytes = bytes.subspan(sent);
  }
}

void RawPeer::SendFrame(FrameHeader header, const std::string& body, const std::vector<int>& fds) {
  if (header.length == 0) header.length = body.size();
  const std::string bytes = RawBytes(header) + body;
  if (fds.empty()) return SendBytes(bytes);
  iovec piece = {const_cast<char*>(bytes.data()), bytes.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* attached = CMSG_FIRSTHDR(&message);
  attached->cmsg_level = SOL_SOCKET;
  attached->cmsg_type = SCM_RIGHTS;
  attached->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(attached), fds.data(), fds.size() * sizeof(int));
  EXPECT_EQ(sendmsg(socket_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

void RawPeer::SendMessage(const RequestHead& head, const Request& request) {
  SendFrame({}, EncodeRequest(head, request));
}

void RawPeer::SendWithPayload(const RequestHead& head, const Request& request,
                              const PayloadTable& table, const std::vector<WireSlice>& slices) {
  std::string body = RawBytes(table);
  for (const WireSlice& slice : slices) body += RawBytes(slice);
  SendFrame({.flags = kHasPayload}, body + EncodeRequest(head, request));
}

void RawPeer::SendNotice(FrameKind kind, const BufferNotice& notice, const std::vector<int>& fds) {
  const uint16_t flags = fds.empty() ? 0 : kHasFd;
  SendFrame({.kind = kind, .flags = flags}, RawBytes(notice), fds);
}

void RawPeer::Hello() {
  SendMessage({.call_id = 1, .deadline = absl::Seconds(10)}, HelloRequest{.client_name = "raw"});
  const auto reply = Receive();
  ASSERT_TRUE(reply.has_value());
  ASSERT_TRUE(std::holds_alternative<HelloReply>(reply->reply));
}

bool RawPeer::ReadExactly(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t got = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    bytes = bytes.subspan(got);
  }
  return true;
}

std::optional<ReplyEnvelope> RawPeer::Receive() {
  FrameHeader header;
  if (!ReadExactly(std::as_writable_bytes(std::span(&header, 1)))) return std::nullopt;
  EXPECT_EQ(header.magic, kFrameMagic);
  std::vector<std::byte> body(header.length);
  if (!ReadExactly(body)) return std::nullopt;
  absl::StatusOr<ReplyEnvelope> reply = DecodeReply(body);
  EXPECT_TRUE(reply.ok()) << reply.status();
  if (!reply.ok()) return std::nullopt;
  return *std::move(reply);
}

bool RawPeer::ReceiveFrame(FrameHeader* header, std::string* body, UniqueFd* fd) {
  iovec piece = {header, sizeof(*header)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(socket_.get(), &message, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof(*header))
    return false;
  if (const cmsghdr* attached = CMSG_FIRSTHDR(&message); attached != nullptr) {
    int received = -1;
    memcpy(&received, CMSG_DATA(attached), sizeof(received));
    *fd = UniqueFd(received);
  }
  body->resize(header->length);
  return ReadExactly(std::as_writable_bytes(std::span(*body)));
}

void RawPeer::AnswerHello(const HelloReply& reply, int arena_fd) {
  FrameHeader header;
  std::string body;
  UniqueFd none;
  ASSERT_TRUE(ReceiveFrame(&header, &body, &none));
  const auto hello = DecodeRequest(std::as_bytes(std::span(body)));
  ASSERT_TRUE(hello.ok()) << hello.status();
  const std::string message = EncodeReply({.call_id = hello->head.call_id}, reply);
  if (arena_fd < 0) {
    SendFrame({}, message);
  } else {
    SendFrame({.flags = kHasFd}, message, {arena_fd});
  }
}

void RawPeer::SendReply(uint64_t call_id, const Reply& reply, uint64_t payload_bytes) {
  SendFrame({}, EncodeReply({call_id, payload_bytes}, reply));
}

bool RawPeer::WaitForEnd() {
  std::byte bytes[65536];
  while (true) {
    const ssize_t got = recv(socket_.get(), bytes, sizeof(bytes), 0);
    if (got == 0 || (got < 0 && errno == ECONNRESET)) return true;
    if (got < 0) return false;
  }
}

}  // namespace cistern::transport
