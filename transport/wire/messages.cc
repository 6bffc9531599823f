#include "transport/wire/messages.h"

namespace cistern::transport {

base::ObjectHeader FindReply::HeaderOf(const ObjectRef& object) const {
  base::ObjectHeader header;
  static_cast<base::ObjectHead&>(header) = object.header;
  const std::span<const base::TokenId> of_object = TokensOf(object);
  header.tokens.assign(of_object.begin(), of_object.end());
  return header;
}

ObjectRef& FindReply::Add(ObjectId id, const base::ObjectHead& header,
                          std::span<const base::TokenId> of_header) {
  ObjectRef& object = objects.emplace_back();
  object.id = id;
  object.header = header;
  object.tokens = {static_cast<uint32_t>(tokens.size()), static_cast<uint32_t>(of_header.size())};
  object.blocks = {static_cast<uint32_t>(blocks.size()), 0};
  tokens.insert(tokens.end(), of_header.begin(), of_header.end());
  return object;
}

void FindReply::AddBlocks(std::span<const base::BlockRef> more) {
  blocks.insert(blocks.end(), more.begin(), more.end());
  objects.back().blocks.count += static_cast<uint32_t>(more.size());
}

}  // namespace cistern::transport
