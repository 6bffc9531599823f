// The envelopes, the framing and the kinds; what is in each kind is in codec_find, codec_publish,
// codec_admin.
#include "transport/wire/codec.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "capnp/message.h"
#include "capnp/serialize.h"
#include "kj/array.h"
#include "kj/exception.h"
#include "kj/io.h"

#include "base/status_macros.h"
#include "transport/wire/codec_parts.h"

namespace cistern::transport {
namespace {

constexpr int kMaxNesting = 16;

// ---- Requests

struct RequestEncoder {
  wire::Request::Builder out;

  void operator()(const HelloRequest& m) { Encode(m, out.initHello()); }
  void operator()(const RegisterModelRequest& m) {
    out.initRegisterModel().setSpecJson(wire::ToKj(m.spec_json));
  }
  void operator()(const FindRequest& m) { Encode(m, out.initFind()); }
  void operator()(const LeaseRequest& m) { Ids(m.objects, out.initLease()); }
  void operator()(const ReleaseRequest& m) { Ids(m.leases, out.initRelease()); }
  void operator()(const ReadRequest& m) {
    auto read = out.initRead();
    wire::EncodeIds(m.leases, read.initIds(m.leases.size()));
    read.setLayerBegin(m.layer_begin);
    read.setLayerEnd(m.layer_end);
  }
  void operator()(const ReserveRequest& m) { Encode(m, out.initReserve()); }
  void operator()(const WriteRequest& m) {
    auto write = out.initWrite();
    wire::EncodeIds(m.reservations, write.initIds(m.reservations.size()));
    write.setLayerBegin(m.layer_begin);
    write.setLayerEnd(m.layer_end);
    write.setChecksum(m.checksum);
    write.setCommit(m.commit);
  }
  void operator()(const CommitRequest& m) { Ids(m.reservations, out.initCommit()); }
  void operator()(const AbortRequest& m) { Ids(m.reservations, out.initAbort()); }
  void operator()(const LinkRequest& m) { Encode(m, out.initLink()); }
  void operator()(const AdminRequest& m) { Encode(m, out.initAdmin()); }

  static void Ids(const std::vector<uint64_t>& ids, wire::Ids::Builder to) {
    wire::EncodeIds(ids, to.initIds(ids.size()));
  }
};

// Decodes into a fresh alternative of `variant`.
template <typename Message, typename Variant, typename Reader>
absl::Status DecodeInto(Reader in, Variant* variant) {
  return Decode(in, &variant->template emplace<Message>());
}

absl::Status DecodeBody(wire::Request::Reader in, Request* out) {
  switch (in.which()) {
    case wire::Request::HELLO:
      return DecodeInto<HelloRequest>(in.getHello(), out);
    case wire::Request::REGISTER_MODEL:
      out->emplace<RegisterModelRequest>().spec_json =
          wire::FromKj(in.getRegisterModel().getSpecJson());
      return absl::OkStatus();
    case wire::Request::FIND:
      return DecodeInto<FindRequest>(in.getFind(), out);
    case wire::Request::LEASE:
      return wire::DecodeIds(in.getLease().getIds(), &out->emplace<LeaseRequest>().objects);
    case wire::Request::RELEASE:
      return wire::DecodeIds(in.getRelease().getIds(), &out->emplace<ReleaseRequest>().leases);
    case wire::Request::READ: {
      const auto from = in.getRead();
      auto& read = out->emplace<ReadRequest>();
      read.layer_begin = from.getLayerBegin();
      read.layer_end = from.getLayerEnd();
      return wire::DecodeIds(from.getIds(), &read.leases);
    }
    case wire::Request::RESERVE:
      return DecodeInto<ReserveRequest>(in.getReserve(), out);
    case wire::Request::WRITE: {
      const auto from = in.getWrite();
      auto& write = out->emplace<WriteRequest>();
      write.layer_begin = from.getLayerBegin();
      write.layer_end = from.getLayerEnd();
      write.checksum = from.getChecksum();
      write.commit = from.getCommit();
      return wire::DecodeIds(from.getIds(), &write.reservations);
    }
    case wire::Request::COMMIT:
      return wire::DecodeIds(in.getCommit().getIds(), &out->emplace<CommitRequest>().reservations);
    case wire::Request::ABORT:
      return wire::DecodeIds(in.getAbort().getIds(), &out->emplace<AbortRequest>().reservations);
    case wire::Request::LINK:
      return DecodeInto<LinkRequest>(in.getLink(), out);
    case wire::Request::ADMIN:
      return DecodeInto<AdminRequest>(in.getAdmin(), out);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("request of the unknown kind ", static_cast<uint16_t>(in.which()),
                   "; this process speaks version ", kProtocolVersion));
}

absl::Status DecodeRequestRoot(wire::Request::Reader in, uint64_t* call_id, RequestEnvelope* out) {
  *call_id = out->head.call_id = in.getCallId();
  if (out->head.call_id == 0) return absl::InvalidArgumentError("request without a call id");
  const uint64_t most_us = absl::ToInt64Microseconds(kMaxDeadline);
  out->head.deadline = absl::Microseconds(std::min(in.getDeadlineUs(), most_us));
  out->head.send_bytes = in.getSendBytes();
  out->head.receive_bytes = in.getReceiveBytes();
  return DecodeBody(in, &out->request);
}

// ---- Replies

struct ReplyEncoder {
  wire::Reply::Builder out;

  void operator()(const ErrorReply& m) { Encode(m, out.initError()); }
  void operator()(const HelloReply& m) { Encode(m, out.initHello()); }
  void operator()(const RegisterModelReply& m) {
    auto to = out.initRegisterModel();
    to.setFingerprintHi(m.fingerprint.hi);
    to.setFingerprintLo(m.fingerprint.lo);
  }
  void operator()(const FindReply& m) { Encode(m, out.initFind()); }
  void operator()(const LeaseReply& m) { Encode(m, out.initLease()); }
  void operator()(const ReleaseReply&) { out.setRelease(); }
  void operator()(const ReadReply& m) {
    auto to = out.initRead();
    to.setPayloadBytes(m.payload_bytes);
    to.setChecksum(m.checksum);
  }
  void operator()(const ReserveReply& m) { Encode(m, out.initReserve()); }
  void operator()(const WriteReply& m) {
    m.committed == 0 ? out.setWrite() : out.setCommitted(m.committed);
  }
  void operator()(const CommitReply& m) { out.setCommit(m.committed); }
  void operator()(const AbortReply&) { out.setAbort(); }
  void operator()(const LinkReply& m) { out.setLink(m.linked); }
  void operator()(const AdminReply& m) { out.setAdmin(wire::ToKj(m.json)); }
};

absl::Status DecodeBody(wire::Reply::Reader in, Reply* out) {
  switch (in.which()) {
    case wire::Reply::ERROR:
      return DecodeInto<ErrorReply>(in.getError(), out);
    case wire::Reply::HELLO:
      return DecodeInto<HelloReply>(in.getHello(), out);
    case wire::Reply::REGISTER_MODEL: {
      const auto from = in.getRegisterModel();
      out->emplace<RegisterModelReply>().fingerprint = {from.getFingerprintHi(),
                                                        from.getFingerprintLo()};
      return absl::OkStatus();
    }
    case wire::Reply::FIND:
      return DecodeInto<FindReply>(in.getFind(), out);
    case wire::Reply::LEASE:
      return DecodeInto<LeaseReply>(in.getLease(), out);
    case wire::Reply::RELEASE:
      out->emplace<ReleaseReply>();
      return absl::OkStatus();
    case wire::Reply::READ: {
      const auto from = in.getRead();
      out->emplace<ReadReply>() = {from.getPayloadBytes(), from.getChecksum()};
      return absl::OkStatus();
    }
    case wire::Reply::RESERVE:
      return DecodeInto<ReserveReply>(in.getReserve(), out);
    case wire::Reply::WRITE:
      out->emplace<WriteReply>();
      return absl::OkStatus();
    case wire::Reply::COMMITTED:
      out->emplace<WriteReply>().committed = in.getCommitted();
      return absl::OkStatus();
    case wire::Reply::COMMIT:
      out->emplace<CommitReply>().committed = in.getCommit();
      return absl::OkStatus();
    case wire::Reply::ABORT:
      out->emplace<AbortReply>();
      return absl::OkStatus();
    case wire::Reply::LINK:
      out->emplace<LinkReply>().linked = in.getLink();
      return absl::OkStatus();
    case wire::Reply::ADMIN:
      out->emplace<AdminReply>().json = wire::FromKj(in.getAdmin());
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("reply of the unknown kind ", static_cast<uint16_t>(in.which()),
                   "; this process speaks version ", kProtocolVersion));
}

absl::Status DecodeReplyRoot(wire::Reply::Reader in, uint64_t* call_id, ReplyEnvelope* out) {
  *call_id = out->head.call_id = in.getCallId();
  if (out->head.call_id == 0) return absl::InvalidArgumentError("reply without a call id");
  out->head.payload_bytes = in.getPayloadBytes();
  return DecodeBody(in, &out->reply);
}

// ---- Framing

// Builds a message right in the bytes that go out: a header of two numbers, then one segment. What
// was guessed too small goes on in further segments, and is copied together at the end.
class BytesBuilder final : public capnp::MessageBuilder {
 public:
  explicit BytesBuilder(size_t words) : bytes_(kHeadBytes + words * sizeof(capnp::word), '\0') {}

  kj::ArrayPtr<capnp::word> allocateSegment(unsigned least) override {
    const size_t words = (bytes_.size() - kHeadBytes) / sizeof(capnp::word);
    if (!given_ && least <= words) {
      given_ = true;
      return kj::arrayPtr(reinterpret_cast<capnp::word*>(bytes_.data() + kHeadBytes), words);
    }
    given_ = true;
    auto segment = kj::heapArray<capnp::word>(std::max<size_t>(least, words));
    memset(segment.begin(), 0, segment.size() * sizeof(capnp::word));
    more_.push_back(std::move(segment));
    return more_.back();
  }

  std::string Take() {
    if (!more_.empty()) return Joined();
    const size_t words = getSegmentsForOutput()[0].size();
    const uint32_t head[] = {0, static_cast<uint32_t>(words)};  // segments, less one; its words
    memcpy(bytes_.data(), head, kHeadBytes);
    bytes_.resize(kHeadBytes + words * sizeof(capnp::word));
    return std::move(bytes_);
  }

 private:
  static constexpr size_t kHeadBytes = 8;

  std::string Joined() {
    std::string out(capnp::computeSerializedSizeInWords(*this) * sizeof(capnp::word), '\0');
    kj::ArrayOutputStream stream(kj::arrayPtr(reinterpret_cast<kj::byte*>(out.data()), out.size()));
    capnp::writeMessage(stream, *this);
    return out;
  }

  std::string bytes_;
  bool given_ = false;
  std::vector<kj::Array<capnp::word>> more_;
};

// At least the words that a message has, where that is easily said. In one segment: a pointer into
// another one costs its reader a look-up under a lock.
constexpr size_t kSmallWords = 48;  // of a message without lists

struct WordsOfRequest {
  size_t operator()(const FindRequest& m) { return 5 * m.items.size() + m.release.size(); }
  size_t operator()(const LeaseRequest& m) { return m.objects.size(); }
  size_t operator()(const ReleaseRequest& m) { return m.leases.size(); }
  size_t operator()(const ReadRequest& m) { return m.leases.size(); }
  size_t operator()(const WriteRequest& m) { return m.reservations.size(); }
  size_t operator()(const CommitRequest& m) { return m.reservations.size(); }
  size_t operator()(const AbortRequest& m) { return m.reservations.size(); }
  size_t operator()(const LinkRequest& m) { return 5 * m.items.size(); }
  size_t operator()(const RegisterModelRequest& m) { return m.spec_json.size() / 8; }
  size_t operator()(const ReserveRequest& m) {
    size_t words = 0;
    for (const base::ObjectHeader& header : m.headers) words += 20 + header.tokens.size() / 2;
    return words;
  }
  template <typename Small>
  size_t operator()(const Small&) {
    return 0;
  }
};

struct WordsOfReply {
  size_t operator()(const FindReply& m) {
    return 4 * (m.results.size() + m.neighbours.size()) + 20 * m.objects.size() +
           m.tokens.size() / 2 + 2 * m.blocks.size() + m.states.size() / 2;
  }
  size_t operator()(const LeaseReply& m) {
    size_t words = 0;
    for (const LeaseResult& result : m.results) words += 6 + 2 * result.blocks.size();
    return words;
  }
  size_t operator()(const ReserveReply& m) { return 3 * m.results.size(); }
  size_t operator()(const AdminReply& m) { return m.json.size() / 8; }
  size_t operator()(const ErrorReply& m) { return m.message.size() / 8; }
  template <typename Small>
  size_t operator()(const Small&) {
    return 0;
  }
};

absl::Status CheckSize(std::span<const std::byte> message) {
  if (message.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "message of ", message.size(), " bytes; at most ", kMaxMessageBytes, " are taken"));
  }
  if (message.empty() || message.size() % sizeof(capnp::word) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "message of ", message.size(), " bytes is truncated: it must be whole words of 8"));
  }
  return absl::OkStatus();
}

template <typename Root, typename Envelope>
absl::StatusOr<Envelope> DecodeMessage(std::span<const std::byte> message, uint64_t* call_id,
                                       absl::Status (*decode)(typename Root::Reader, uint64_t*,
                                                              Envelope*)) {
  uint64_t ignored = 0;
  if (call_id == nullptr) call_id = &ignored;
  *call_id = 0;
  CISTERN_RETURN_IF_ERROR(CheckSize(message));

  const size_t num_words = message.size() / sizeof(capnp::word);
  kj::Array<capnp::word> aligned;
  const auto* words = reinterpret_cast<const capnp::word*>(message.data());
  if (reinterpret_cast<uintptr_t>(message.data()) % alignof(capnp::word) != 0) {
    aligned = kj::heapArray<capnp::word>(num_words);
    memcpy(aligned.begin(), message.data(), message.size());
    words = aligned.begin();
  }
  capnp::ReaderOptions limits;
  limits.traversalLimitInWords = num_words + 1024;  // each word once, and then some for empty lists
  limits.nestingLimit = kMaxNesting;
  try {
    capnp::FlatArrayMessageReader reader(kj::arrayPtr(words, num_words), limits);
    Envelope envelope;
    CISTERN_RETURN_IF_ERROR(decode(reader.getRoot<Root>(), call_id, &envelope));
    return envelope;
  } catch (const kj::Exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat("message cannot be read: ", e.getDescription().cStr()));
  }
}

}  // namespace

std::string EncodeRequest(const RequestHead& head, const Request& request) {
  BytesBuilder message(kSmallWords + std::visit(WordsOfRequest(), request));
  auto root = message.initRoot<wire::Request>();
  root.setCallId(head.call_id);
  root.setDeadlineUs(
      absl::ToInt64Microseconds(std::clamp(head.deadline, absl::ZeroDuration(), kMaxDeadline)));
  root.setSendBytes(head.send_bytes);
  root.setReceiveBytes(head.receive_bytes);
  std::visit(RequestEncoder{root}, request);
  return message.Take();
}

std::string EncodeReply(const ReplyHead& head, const Reply& reply) {
  BytesBuilder message(kSmallWords + std::visit(WordsOfReply(), reply));
  auto root = message.initRoot<wire::Reply>();
  root.setCallId(head.call_id);
  root.setPayloadBytes(head.payload_bytes);
  std::visit(ReplyEncoder{root}, reply);
  return message.Take();
}

absl::StatusOr<RequestEnvelope> DecodeRequest(std::span<const std::byte> message,
                                              uint64_t* call_id) {
  return DecodeMessage<wire::Request, RequestEnvelope>(message, call_id, &DecodeRequestRoot);
}

absl::StatusOr<ReplyEnvelope> DecodeReply(std::span<const std::byte> message, uint64_t* call_id) {
  return DecodeMessage<wire::Reply, ReplyEnvelope>(message, call_id, &DecodeReplyRoot);
}

}  // namespace cistern::transport
