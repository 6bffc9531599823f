// What a sender can know to be too much before it encodes.
#include <variant>

#include "base/status_macros.h"
#include "transport/wire/codec.h"
#include "transport/wire/codec_parts.h"

namespace cistern::transport {
namespace {

absl::Status Items(uint64_t count, absl::string_view what) {
  return wire::CheckCount(count, kMaxItems, what);
}
absl::Status Text(const std::string& text) {
  return wire::CheckCount(text.size(), kMaxMessageBytes, "bytes of text");
}

// Whether the objects have all that the reply's lists bring, one behind the other: only how much
// each has is sent.
absl::Status Covered(const FindReply& reply) {
  uint64_t tokens = 0;
  uint64_t blocks = 0;
  for (const ObjectRef& object : reply.objects) {
    if (object.tokens.first != tokens || object.blocks.first != blocks)
      return absl::InvalidArgumentError("find reply: the objects' tokens or blocks lie elsewhere");
    tokens += object.tokens.count;
    blocks += object.blocks.count;
  }
  if (tokens == reply.tokens.size() && blocks == reply.blocks.size()) return absl::OkStatus();
  return absl::InvalidArgumentError("find reply: tokens or blocks that are no object's");
}

struct RequestBounds {
  absl::Status operator()(const HelloRequest& m) { return Text(m.client_name); }
  absl::Status operator()(const RegisterModelRequest& m) { return Text(m.spec_json); }
  absl::Status operator()(const FindRequest& m) {
    CISTERN_RETURN_IF_ERROR(Items(m.release.size(), "leases"));
    return Items(m.items.size(), "items to find");
  }
  absl::Status operator()(const LeaseRequest& m) {
    return Items(m.objects.size(), "objects to lease");
  }
  absl::Status operator()(const ReleaseRequest& m) { return Items(m.leases.size(), "leases"); }
  absl::Status operator()(const ReadRequest& m) { return Items(m.leases.size(), "leases to read"); }
  absl::Status operator()(const ReserveRequest& m) {
    CISTERN_RETURN_IF_ERROR(Items(m.headers.size(), "headers to reserve for"));
    for (const base::ObjectHeader& header : m.headers) CISTERN_RETURN_IF_ERROR(header.Validate());
    return absl::OkStatus();
  }
  absl::Status operator()(const WriteRequest& m) {
    return Items(m.reservations.size(), "reservations");
  }
  absl::Status operator()(const CommitRequest& m) {
    return Items(m.reservations.size(), "reservations");
  }
  absl::Status operator()(const AbortRequest& m) {
    return Items(m.reservations.size(), "reservations");
  }
  absl::Status operator()(const LinkRequest& m) { return Items(m.items.size(), "items to link"); }
  absl::Status operator()(const AdminRequest& m) { return Text(m.model_name); }
};

struct ReplyBounds {
  absl::Status operator()(const ErrorReply& m) { return Text(m.message); }
  absl::Status operator()(const HelloReply& m) { return Text(m.node_name); }
  absl::Status operator()(const FindReply& m) {
    CISTERN_RETURN_IF_ERROR(Items(m.results.size(), "results"));
    CISTERN_RETURN_IF_ERROR(Items(m.neighbours.size(), "neighbours"));
    CISTERN_RETURN_IF_ERROR(Items(m.states.size(), "states"));
    CISTERN_RETURN_IF_ERROR(Items(m.objects.size(), "objects"));
    return Covered(m);
  }
  absl::Status operator()(const LeaseReply& m) { return Items(m.results.size(), "leases"); }
  absl::Status operator()(const ReserveReply& m) { return Items(m.results.size(), "reservations"); }
  absl::Status operator()(const AdminReply& m) { return Text(m.json); }
  template <typename Small>
  absl::Status operator()(const Small&) {
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status CheckBounds(const Request& request) { return std::visit(RequestBounds(), request); }
absl::Status CheckBounds(const Reply& reply) { return std::visit(ReplyBounds(), reply); }

}  // namespace cistern::transport
