#include "transport/wire/codec_parts.h"

#include <bit>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "capnp/any.h"

#include "base/status_macros.h"

namespace cistern::transport::wire {
namespace {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied as they lie in memory");
static_assert(sizeof(base::BlockRef) == 16 && offsetof(base::BlockRef, handle) == 0 &&
                  offsetof(base::BlockRef, generation) == 4 &&
                  offsetof(base::BlockRef, offset) == 8,
              "blocks are copied as they lie in memory, in the schema's order");

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
  EncodeHead(header, out);
  EncodeTokens(header.tokens, out.initTokens(header.tokens.size()));
}

absl::Status DecodeHeader(ObjectHeader::Reader in, base::ObjectHeader* header) {
  CISTERN_RETURN_IF_ERROR(DecodeHead(in, header));
  const auto tokens = in.getTokens();
  CISTERN_RETURN_IF_ERROR(
      CheckCount(tokens.size(), base::ObjectHeader::kMaxTokens, "tokens in an object"));
  DecodeTokens(tokens, &header->tokens);
  return header->Validate();
}

void EncodeTokens(const std::vector<base::TokenId>& tokens, capnp::List<uint32_t>::Builder out) {
  EncodeNumbers(tokens, out);
}

void DecodeTokens(capnp::List<uint32_t>::Reader in, std::vector<base::TokenId>* tokens) {
  DecodeNumbers(in, tokens);
}

// A list of them lies in a message as in memory, too.
void EncodeBlocks(const std::vector<base::BlockRef>& blocks, capnp::List<BlockRef>::Builder out) {
  if (blocks.empty()) return;
  const auto raw = capnp::AnyList::Reader(out.asReader()).getRawBytes();
  memcpy(const_cast<kj::byte*>(raw.begin()), blocks.data(), blocks.size() * sizeof(base::BlockRef));
}

absl::Status DecodeBlocks(capnp::List<BlockRef>::Reader in, uint64_t most,
                          std::vector<base::BlockRef>* blocks) {
  CISTERN_RETURN_IF_ERROR(CheckCount(in.size(), most, "blocks in an object"));
  if (in.size() == 0) return absl::OkStatus();
  const capnp::AnyStruct::Reader first(in[0]);
  if (first.getPointerSection().size() == 0 &&
      first.getDataSection().size() == sizeof(base::BlockRef)) {
    blocks->resize(in.size());
    memcpy(blocks->data(), capnp::AnyList::Reader(in).getRawBytes().begin(),
           blocks->size() * sizeof(base::BlockRef));
    return absl::OkStatus();
  }
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
