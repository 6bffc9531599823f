// The codec's inside: one Encode and one Decode per message, by area. Included by codec*.cc only.
//
// Decoders may throw kj::Exception (codec.cc catches it) and return InvalidArgument for what Cap'n
// Proto cannot know: counts, enum values, headers. Each pointer is followed once, so that the
// traversal limit bounds the work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#include "base/arena_layout.h"
#include "base/key.h"
#include "base/object.h"
#include "base/status_macros.h"
#include "transport/wire/cistern.capnp.h"
#include "transport/wire/messages.h"

namespace cistern::transport::wire {

inline constexpr uint32_t kMaxBlocks = 1u << 20;  // of one object

// ---- Pieces (codec_parts.cc)

void EncodeHeader(const base::ObjectHeader& header, ObjectHeader::Builder out);
absl::Status DecodeHeader(ObjectHeader::Reader in, base::ObjectHeader* header);

void EncodeTokens(const std::vector<base::TokenId>& tokens, capnp::List<uint32_t>::Builder out);
void DecodeTokens(capnp::List<uint32_t>::Reader in, std::vector<base::TokenId>* tokens);

void EncodeBlocks(const std::vector<base::BlockRef>& blocks, capnp::List<BlockRef>::Builder out);
absl::Status DecodeBlocks(capnp::List<BlockRef>::Reader in, uint64_t most,
                          std::vector<base::BlockRef>* blocks);

// Plain indexes, at most kMaxItems.
void EncodeIndexes(const std::vector<uint32_t>& indexes, capnp::List<uint32_t>::Builder out);
absl::Status DecodeIndexes(capnp::List<uint32_t>::Reader in, absl::string_view what,
                           std::vector<uint32_t>* indexes);

void EncodeIds(const std::vector<uint64_t>& ids, capnp::List<uint64_t>::Builder out);
absl::Status DecodeIds(capnp::List<uint64_t>::Reader in, std::vector<uint64_t>* ids);

absl::Status CheckCount(uint64_t count, uint64_t limit, absl::string_view what);
absl::Status UnknownEnum(absl::string_view what, uint16_t value);

// `value` as our enum, if it is at most `last`; capnp hands out numbers that it does not know as
// they are.
template <typename Ours, typename Theirs>
absl::Status DecodeEnum(Theirs value, Ours last, absl::string_view what, Ours* out) {
  if (static_cast<uint16_t>(value) > static_cast<uint16_t>(last)) {
    return UnknownEnum(what, static_cast<uint16_t>(value));
  }
  *out = static_cast<Ours>(value);
  return absl::OkStatus();
}

// All of a header but its tokens: an ObjectHeader's or a FoundObject's.
template <typename Builder>
void EncodeHead(const base::ObjectHead& head, Builder& out) {
  out.setKind(static_cast<ObjectKind>(head.kind));
  out.setEncoding(static_cast<RotaryEncoding>(head.encoding));
  out.setArithmetic(static_cast<RotaryArithmetic>(head.arithmetic));
  out.setLineage(static_cast<Lineage>(head.lineage));
  out.setModelHi(head.model.hi);
  out.setModelLo(head.model.lo);
  out.setContentHi(head.content.hi);
  out.setContentLo(head.content.lo);
  out.setContextHi(head.context.hi);
  out.setContextLo(head.context.lo);
  out.setParentContextHi(head.parent_context.hi);
  out.setParentContextLo(head.parent_context.lo);
  out.setTenant(head.tenant);
  out.setBasePosition(head.base_position);
  out.setBlobBytes(head.blob_bytes);
  out.setPreviousStateHi(head.previous_state.hi);
  out.setPreviousStateLo(head.previous_state.lo);
  out.setTails(static_cast<LogTails>(head.tails));
}

// Its enums are known ones; the rest is Validate's.
template <typename Reader>
absl::Status DecodeHead(const Reader& in, base::ObjectHead* head) {
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getKind(), base::ObjectKind::kLog, "an object's kind", &head->kind));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getEncoding(), base::RotaryEncoding::kRotated,
                                     "an object's rotary encoding", &head->encoding));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getArithmetic(), base::RotaryArithmetic::kBf16PerOp,
                                     "an object's rotary arithmetic", &head->arithmetic));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getLineage(), base::Lineage::kApproximate,
                                     "an object's lineage", &head->lineage));
  head->model = {in.getModelHi(), in.getModelLo()};
  head->content = {in.getContentHi(), in.getContentLo()};
  head->context = {in.getContextHi(), in.getContextLo()};
  head->parent_context = {in.getParentContextHi(), in.getParentContextLo()};
  head->tenant = in.getTenant();
  head->base_position = in.getBasePosition();
  head->blob_bytes = in.getBlobBytes();
  head->previous_state = {in.getPreviousStateHi(), in.getPreviousStateLo()};
  return DecodeEnum(in.getTails(), base::LogTails::kEveryToken, "a log's tails", &head->tails);
}

inline kj::StringPtr ToKj(const std::string& text) { return {text.c_str(), text.size()}; }
inline std::string FromKj(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

// ---- Finding and reading (codec_find.cc)

void Encode(const FindRequest& message, Find::Builder out);
absl::Status Decode(Find::Reader in, FindRequest* message);
void Encode(const transport::FindReply& message, FindReply::Builder out);
absl::Status Decode(FindReply::Reader in, transport::FindReply* message);
void Encode(const transport::LeaseReply& message, LeaseReply::Builder out);
absl::Status Decode(LeaseReply::Reader in, transport::LeaseReply* message);

// ---- Publishing (codec_publish.cc)

void Encode(const ReserveRequest& message, Reserve::Builder out);
absl::Status Decode(Reserve::Reader in, ReserveRequest* message);
void Encode(const transport::ReserveReply& message, ReserveReply::Builder out);
absl::Status Decode(ReserveReply::Reader in, transport::ReserveReply* message);
void Encode(const LinkRequest& message, Link::Builder out);
absl::Status Decode(Link::Reader in, LinkRequest* message);

// ---- Administration and opening (codec_admin.cc)

void Encode(const HelloRequest& message, Hello::Builder out);
absl::Status Decode(Hello::Reader in, HelloRequest* message);
void Encode(const transport::HelloReply& message, HelloReply::Builder out);
absl::Status Decode(HelloReply::Reader in, transport::HelloReply* message);
void Encode(const transport::ErrorReply& message, ErrorReply::Builder out);
absl::Status Decode(ErrorReply::Reader in, transport::ErrorReply* message);
void Encode(const AdminRequest& message, Admin::Builder out);
absl::Status Decode(Admin::Reader in, AdminRequest* message);

}  // namespace cistern::transport::wire
