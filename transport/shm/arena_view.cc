#include "transport/shm/arena_view.h"

#include <utility>

#include "absl/strings/str_cat.h"

#include "base/arena_layout.h"

namespace cistern::transport {
namespace {

absl::Status Unfit(absl::string_view reason) {
  return absl::FailedPreconditionError(absl::StrCat("the node's arena cannot be mapped: ", reason));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Mapping>> MapArena(int fd, const HelloReply& node) {
  if (fd < 0) return Unfit("its descriptor did not come with the hello");
  absl::Status status = CheckReadOnlyMemfd(fd, node.arena_bytes);
  if (!status.ok()) return Unfit(status.message());
  absl::StatusOr<std::shared_ptr<Mapping>> mapping =
      Mapping::Map(fd, node.arena_bytes, Mapping::Access::kRead);
  if (!mapping.ok()) return Unfit(mapping.status().message());
  status = base::CheckArenaHeader((*mapping)->data(), node.arena_bytes);
  if (!status.ok()) return Unfit(status.message());
  const auto* header = reinterpret_cast<const base::ArenaHeader*>((*mapping)->data());
  if (header->incarnation != node.incarnation) {
    return Unfit(absl::StrCat("it is of incarnation ", header->incarnation, ", the node of ",
                              node.incarnation));
  }
  return mapping;
}

}  // namespace cistern::transport
