// The flags of `cistern-bench peers` that are lists.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "base/status_macros.h"
#include "tools/bench/peers/peers_run.h"

namespace cistern::tools {
namespace {

template <typename T>
void AddOnce(T value, std::vector<T>* list) {
  if (std::find(list->begin(), list->end(), value) == list->end()) list->push_back(value);
}

std::vector<absl::string_view> Words(absl::string_view words) {
  std::vector<absl::string_view> list = absl::StrSplit(words, ',', absl::SkipWhitespace());
  for (absl::string_view& word : list) word = absl::StripAsciiWhitespace(word);
  return list;
}

}  // namespace

absl::StatusOr<std::vector<PeerKind>> ParsePeers(absl::string_view words) {
  std::vector<PeerKind> peers;
  for (const absl::string_view word : Words(words)) {
    const bool redis = word == PeerName(PeerKind::kRedis);
    if (!redis && word != PeerName(PeerKind::kMemcached))
      return absl::InvalidArgumentError(
          absl::StrCat("--peers '", word, "'; there are: redis, memcached"));
    AddOnce(redis ? PeerKind::kRedis : PeerKind::kMemcached, &peers);
  }
  if (peers.empty()) return absl::InvalidArgumentError("--peers names none");
  return peers;
}

absl::StatusOr<std::vector<bool>> ParseOver(absl::string_view words) {
  std::vector<bool> over;
  for (const absl::string_view word : Words(words)) {
    if (word != "unix" && word != "tcp")
      return absl::InvalidArgumentError(absl::StrCat("--over '", word, "'; there are: unix, tcp"));
    AddOnce(word == "tcp", &over);
  }
  if (over.empty()) return absl::InvalidArgumentError("--over names none");
  return over;
}

absl::StatusOr<std::vector<uint32_t>> ParseConnections(absl::string_view words) {
  std::vector<uint32_t> connections;
  for (const absl::string_view word : Words(words)) {
    uint32_t count = 0;
    if (!absl::SimpleAtoi(word, &count) || count == 0 || count > kMaxConnections)
      return absl::InvalidArgumentError(
          absl::StrCat("--connections '", word, "': from 1 to ", kMaxConnections));
    AddOnce(count, &connections);
  }
  if (connections.empty()) return absl::InvalidArgumentError("--connections names none");
  return connections;
}

}  // namespace cistern::tools
