#include "transport/wire/codec_parts.h"

#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "capnp/any.h"

#include "base/status_macros.h"

namespace cistern::transport::wire {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie in memory");

// Lists of plain numbers lie in a message as they lie in memory (little endian): one memcpy instead
// of n stores. A list that another encoder laid out otherwise (as structs, which Cap'n Proto
// allows) is read element by element.
template <typename T>
void EncodeNumbers(const std::vector<T>& numbers, typename capnp::List<T>::Builder out) {
  if (numbers.empty()) return;
  const auto raw = capnp::AnyList::Reader(out.asReader()).getRawBytes();
  memcpy(const_cast<kj::byte*>(raw.begin()), numbers.data(), numbers.size() * sizeof(T));
}

template <typename T>
void DecodeNumbers(typename capnp::List<T>::Reader in, std::vector<T>* numbers) {
  numbers->resize(in.size());
  if (numbers->empty()) return;
  const capnp::AnyList::Reader any(in);
  constexpr auto kPlain =
      sizeof(T) == 8 ? capnp::ElementSize::EIGHT_BYTES : capnp::ElementSize::FOUR_BYTES;
  if (any.getElementSize() == kPlain) {
    memcpy(numbers->data(), any.getRawBytes().begin(), numbers->size() * sizeof(T));
  } else {
    for (uint32_t i = 0; i < in.size(); ++i) (*numbers)[i] = in[i];
  }
}

}  // namespace

absl::Status CheckCount(uint64_t count, uint64_t limit, absl::string_view what) {
  if (count <= limit) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("message: ", count, " ", what, "; at most ", limit,
                                                 " fit in one, send several"));
}

absl::Status UnknownEnum(absl::string_view what, uint16_t value) {
  return absl::InvalidArgumentError(absl::StrCat("message: ", what, " has the unknown value ",
                                                 value,
                                                 "; is the sender newer than this process?"));
}

void EncodeHeader(const base::ObjectHeader& header, ObjectHeader::Builder out) {
  out.setKind(static_cast<ObjectKind>(header.kind));
  out.setEncoding(static_cast<RotaryEncoding>(header.encoding));
  out.setArithmetic(static_cast<RotaryArithmetic>(header.arithmetic));
  out.setLineage(static_cast<Lineage>(header.lineage));
  out.setModelHi(header.model.hi);
  out.setModelLo(header.model.lo);
  out.setContentHi(header.content.hi);
  out.setContentLo(header.content.lo);
  out.setContextHi(header.context.hi);
  out.setContextLo(header.context.lo);
  out.setParentContextHi(header.parent_context.hi);
  out.setParentContextLo(header.parent_context.lo);
  out.setTenant(header.tenant);
  out.setBasePosition(header.base_position);
  out.setBlobBytes(header.blob_bytes);
  out.setPreviousStateHi(header.previous_state.hi);
  out.setPreviousStateLo(header.previous_state.lo);
  out.setTails(static_cast<LogTails>(header.tails));
  EncodeNumbers(header.tokens, out.initTokens(header.tokens.size()));
}

absl::Status DecodeHeader(ObjectHeader::Reader in, base::ObjectHeader* header) {
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getKind(), base::ObjectKind::kLog, "an object's kind", &header->kind));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getEncoding(), base::RotaryEncoding::kRotated,
                                     "an object's rotary encoding", &header->encoding));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getArithmetic(), base::RotaryArithmetic::kBf16PerOp,
                                     "an object's rotary arithmetic", &header->arithmetic));
  CISTERN_RETURN_IF_ERROR(DecodeEnum(in.getLineage(), base::Lineage::kApproximate,
                                     "an object's lineage", &header->lineage));
  header->model = {in.getModelHi(), in.getModelLo()};
  header->content = {in.getContentHi(), in.getContentLo()};
  header->context = {in.getContextHi(), in.getContextLo()};
  header->parent_context = {in.getParentContextHi(), in.getParentContextLo()};
  header->tenant = in.getTenant();
  header->base_position = in.getBasePosition();
  header->blob_bytes = in.getBlobBytes();
  header->previous_state = {in.getPreviousStateHi(), in.getPreviousStateLo()};
  CISTERN_RETURN_IF_ERROR(
      DecodeEnum(in.getTails(), base::LogTails::kEveryToken, "a log's tails", &header->tails));
  const auto tokens = in.getTokens();
  CISTERN_RETURN_IF_ERROR(
      CheckCount(tokens.size(), base::ObjectHeader::kMaxTokens, "tokens in an object"));
  DecodeNumbers(tokens, &header->tokens);
  return header->Validate();
}

void EncodeBlocks(const std::vector<base::BlockRef>& blocks, capnp::List<BlockRef>::Builder out) {
  for (uint32_t i = 0; i < blocks.size(); ++i) {
    auto block = out[i];
    block.setHandle(blocks[i].handle);
    block.setGeneration(blocks[i].generation);
    block.setOffset(blocks[i].offset);
  }
}

absl::Status DecodeBlocks(capnp::List<BlockRef>::Reader in, std::vector<base::BlockRef>* blocks) {
  CISTERN_RETURN_IF_ERROR(CheckCount(in.size(), kMaxBlocks, "blocks in an object"));
  blocks->reserve(in.size());
  for (const auto block : in) {
    blocks->push_back({block.getHandle(), block.getGeneration(), block.getOffset()});
  }
  return absl::OkStatus();
}

void EncodeIndexes(const std::vector<uint32_t>& indexes, capnp::List<uint32_t>::Builder out) {
  EncodeNumbers(indexes, out);
}

absl::Status DecodeIndexes(capnp::List<uint32_t>::Reader in, absl::string_view what,
                           std::vector<uint32_t>* indexes) {
  CISTERN_RETURN_IF_ERROR(CheckCount(in.size(), kMaxItems, what));
  DecodeNumbers(in, indexes);
  return absl::OkStatus();
}

void EncodeIds(const std::vector<uint64_t>& ids, capnp::List<uint64_t>::Builder out) {
  EncodeNumbers(ids, out);
}

absl::Status DecodeIds(capnp::List<uint64_t>::Reader in, std::vector<uint64_t>* ids) {
  CISTERN_RETURN_IF_ERROR(CheckCount(in.size(), kMaxItems, "ids"));
  DecodeNumbers(in, ids);
  return absl::OkStatus();
}

}  // namespace cistern::transport::wire
