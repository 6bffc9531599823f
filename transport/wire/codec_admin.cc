// The hello, errors and administration.
#include "base/status_macros.h"
#include "transport/wire/codec_parts.h"

namespace cistern::transport::wire {

void Encode(const HelloRequest& message, Hello::Builder out) {
  out.setVersion(message.version);
  out.setClientName(ToKj(message.client_name));
  out.setWantMapping(message.want_mapping);
}

absl::Status Decode(Hello::Reader in, HelloRequest* message) {
  message->version = in.getVersion();
  message->client_name = FromKj(in.getClientName());
  message->want_mapping = in.getWantMapping();
  return absl::OkStatus();
}

void Encode(const transport::HelloReply& message, HelloReply::Builder out) {
  out.setVersion(message.version);
  out.setNodeName(ToKj(message.node_name));
  out.setIncarnation(message.incarnation);
  out.setArenaBytes(message.arena_bytes);
  out.setBlobBlockBytes(message.blob_block_bytes);
}

absl::Status Decode(HelloReply::Reader in, transport::HelloReply* message) {
  message->version = in.getVersion();
  message->node_name = FromKj(in.getNodeName());
  message->incarnation = in.getIncarnation();
  message->arena_bytes = in.getArenaBytes();
  message->blob_block_bytes = in.getBlobBlockBytes();
  return absl::OkStatus();
}

void Encode(const transport::ErrorReply& message, ErrorReply::Builder out) {
  out.setCode(message.code);
  out.setMessage(ToKj(message.message));
}

// A code that no Status has, zero included (an error cannot be OK), becomes Unknown.
absl::Status Decode(ErrorReply::Reader in, transport::ErrorReply* message) {
  message->code = in.getCode();
  message->message = FromKj(in.getMessage());
  if (message->code <= 0 ||
      message->code > static_cast<int32_t>(absl::StatusCode::kUnauthenticated)) {
    message->code = static_cast<int32_t>(absl::StatusCode::kUnknown);
  }
  return absl::OkStatus();
}

void Encode(const AdminRequest& message, Admin::Builder out) {
  out.setVerb(static_cast<AdminVerb>(message.verb));
  out.setKeyHi(message.key.hi);
  out.setKeyLo(message.key.lo);
  out.setModelHi(message.model.hi);
  out.setModelLo(message.model.lo);
  out.setModelName(ToKj(message.model_name));
  out.setTenant(message.tenant);
  out.setHasTenant(message.has_tenant);
  out.setAll(message.all);
  out.setLimit(message.limit);
  out.setCursor(message.cursor);
}

absl::Status Decode(Admin::Reader in, AdminRequest* message) {
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getVerb(), transport::AdminVerb::kFlush,
                                     "an admin request's verb", &message->verb));
  message->key = {in.getKeyHi(), in.getKeyLo()};
  message->model = {in.getModelHi(), in.getModelLo()};
  message->model_name = FromKj(in.getModelName());
  message->tenant = in.getTenant();
  message->has_tenant = in.getHasTenant();
  message->all = in.getAll();
  message->limit = in.getLimit();
  message->cursor = in.getCursor();
  return absl::OkStatus();
}

}  // namespace cistern::transport::wire
