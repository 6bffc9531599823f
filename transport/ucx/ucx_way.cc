#include "transport/ucx/ucx_way.h"

#include <stdio.h>
#include <stdlib.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace cistern::transport {
namespace {

constexpr const char* kVariable = "CISTERN_UCX_PAYLOADS";
constexpr absl::string_view kPieces = "pieces";
constexpr absl::string_view kRendezvous = "rendezvous";

// UCX 1.13 tells an endpoint's transports only in words: a line for each lane, such as
// "lane[1]:  3:tcp/eth0.0 md[2]  -> md[2]/tcp/sysdev[255] am am_bw#0".
bool OnlyTcp(absl::string_view report) {
  bool tcp = false;
  for (const absl::string_view line : absl::StrSplit(report, '\n')) {
    if (!absl::StrContains(line, "lane[") || absl::StrContains(line, ": cm ")) continue;
    if (!absl::StrContains(line, ":tcp/")) return false;
    tcp = true;
  }
  return tcp;
}

}  // namespace

bool UcxSendsInPieces(ucp_ep_h endpoint) {
  if (const char* said = getenv(kVariable); said != nullptr) return said == kPieces;
  char* text = nullptr;
  size_t bytes = 0;
  FILE* const report = open_memstream(&text, &bytes);
  if (report == nullptr) return false;
  ucp_ep_print_info(endpoint, report);
  fclose(report);
  const bool only_tcp = OnlyTcp(absl::string_view(text, bytes));
  free(text);
  return only_tcp;
}

absl::Status CheckUcxPayloads() {
  const char* said = getenv(kVariable);
  if (said == nullptr || said == kPieces || said == kRendezvous) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(kVariable, " is '", said, "': set it to ", kPieces,
                                                 " or ", kRendezvous, ", or leave it out"));
}

}  // namespace cistern::transport
