#include "tools/cistern/commands.h"

#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

#include "base/key.h"
#include "base/status_macros.h"
#include "base/tenant.h"
#include "tools/cistern/help.h"
#include "tools/cistern/node_admin.h"
#include "tools/cistern/pages.h"
#include "tools/cistern/render.h"

namespace cistern::tools {
namespace {

using transport::AdminRequest;
using transport::AdminVerb;

constexpr uint32_t kDefaultLimit = 1000;

absl::Status Usage(absl::string_view command, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, "\n`cistern ", command, " --help` explains it"));
}

// KEY as a word or as --key.
absl::StatusOr<base::Key> KeyOf(const CommandLine& line) {
  const std::string text = line.words.size() > 1 ? line.words[1] : line.key;
  absl::StatusOr<base::Key> key = base::Key::FromHex(text);
  if (!key.ok() || key->IsZero())
    return Usage(line.words[0], absl::StrCat("'", text,
                                             "' is no key: give the 32 hex digits of a content or "
                                             "context key, as `cistern ls` shows them"));
  return key;
}

absl::StatusOr<AdminRequest> SelectionOf(const CommandLine& line) {
  AdminRequest request;
  if (!line.key.empty()) {
    CISTERN_ASSIGN_OR_RETURN(request.key, KeyOf(line));
  }
  if (absl::StatusOr<base::Key> fingerprint = base::Key::FromHex(line.model); fingerprint.ok()) {
    request.model = *fingerprint;
  } else {
    request.model_name = line.model;
  }
  if (line.has_tenant) {
    absl::StatusOr<uint64_t> tenant = base::ParseTenant(line.tenant);
    if (!tenant.ok()) return Usage(line.words[0], tenant.status().message());
    request.tenant = *tenant;
    request.has_tenant = true;
  }
  request.all = line.all;
  return request;
}

struct Outcome {
  std::string json;
  std::string text;
  ExitCode code = kDone;
};

absl::StatusOr<Outcome> Render(std::string json, absl::StatusOr<std::string> text) {
  CISTERN_RETURN_IF_ERROR(text.status());
  return Outcome{std::move(json), *std::move(text)};
}

absl::StatusOr<Outcome> Status(NodeAdmin& node, const CommandLine& /*line*/) {
  CISTERN_ASSIGN_OR_RETURN(std::string json, node.Ask({.verb = AdminVerb::kStatus}));
  return Render(json, RenderStatus(json));
}

absl::StatusOr<Outcome> Models(NodeAdmin& node, const CommandLine& /*line*/) {
  CISTERN_ASSIGN_OR_RETURN(std::string json, node.Ask({.verb = AdminVerb::kModels}));
  return Render(json, RenderModels(json));
}

absl::StatusOr<Outcome> List(NodeAdmin& node, const CommandLine& line) {
  CISTERN_ASSIGN_OR_RETURN(AdminRequest request, SelectionOf(line));
  request.verb = AdminVerb::kList;
  request.cursor = line.from;
  const uint32_t limit = line.limit == 0 ? kDefaultLimit : line.limit;
  CISTERN_ASSIGN_OR_RETURN(std::string json, ListAll(node, request, limit));
  return Render(json, RenderList(json));
}

absl::StatusOr<Outcome> Inspect(NodeAdmin& node, const CommandLine& line) {
  AdminRequest request{.verb = AdminVerb::kInspect};
  CISTERN_ASSIGN_OR_RETURN(request.key, KeyOf(line));
  CISTERN_ASSIGN_OR_RETURN(std::string json, node.Ask(request));
  return Render(json, RenderInspect(json));
}

absl::StatusOr<Outcome> Evict(NodeAdmin& node, const CommandLine& line) {
  CISTERN_ASSIGN_OR_RETURN(AdminRequest request, SelectionOf(line));
  const bool restricts = !line.key.empty() || !line.model.empty() || line.has_tenant;
  if (!restricts && !line.all)
    return Usage("evict", "say what to evict: --key, --model, --tenant, or --all");
  CISTERN_ASSIGN_OR_RETURN(std::string json, EvictAll(node, request));
  return Render(json, RenderEvict(json));
}

absl::StatusOr<Outcome> Pin(NodeAdmin& node, const CommandLine& line) {
  const bool pin = line.words[0] == "pin";
  AdminRequest request{.verb = pin ? AdminVerb::kPin : AdminVerb::kUnpin};
  CISTERN_ASSIGN_OR_RETURN(request.key, KeyOf(line));
  CISTERN_ASSIGN_OR_RETURN(std::string json, node.Ask(request));
  return Render(json, RenderCount(json, pin ? "pinned" : "unpinned"));
}

absl::StatusOr<Outcome> Verify(NodeAdmin& node, const CommandLine& line) {
  CISTERN_ASSIGN_OR_RETURN(AdminRequest request, SelectionOf(line));
  request.verb = AdminVerb::kVerify;
  bool damage = false;
  CISTERN_ASSIGN_OR_RETURN(std::string json, VerifyAll(node, request, &damage));
  CISTERN_ASSIGN_OR_RETURN(Outcome outcome, Render(json, RenderVerify(json)));
  if (damage) outcome.code = kDamage;
  return outcome;
}

absl::StatusOr<Outcome> Flush(NodeAdmin& node, const CommandLine& /*line*/) {
  CISTERN_ASSIGN_OR_RETURN(std::string json, node.Ask({.verb = AdminVerb::kFlush}));
  CISTERN_ASSIGN_OR_RETURN(const bool clean, FlushedAll(json));
  CISTERN_ASSIGN_OR_RETURN(Outcome outcome, Render(json, RenderFlush(json)));
  if (!clean) outcome.code = kDamage;
  return outcome;
}

struct Runner {
  absl::string_view name;
  size_t words;  // after the command, at most
  absl::StatusOr<Outcome> (*run)(NodeAdmin&, const CommandLine&);
};

constexpr Runner kRunners[] = {{"status", 0, Status},   {"models", 0, Models}, {"ls", 0, List},
                               {"inspect", 1, Inspect}, {"evict", 0, Evict},   {"pin", 1, Pin},
                               {"unpin", 1, Pin},       {"verify", 0, Verify}, {"flush", 0, Flush}};

ExitCode Complain(const absl::Status& status, ExitCode code) {
  std::fprintf(stderr, "cistern: %s\n", std::string(status.message()).c_str());
  return code;
}

ExitCode CodeOf(const absl::Status& status) {
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) return kNoNode;
  return absl::IsInvalidArgument(status) ? kUsage : kRefused;
}

}  // namespace

std::string DefaultAddress() {
  const char* address = std::getenv("CISTERN_ADDRESS");  // NOLINT(concurrency-mt-unsafe)
  return address == nullptr || *address == '\0' ? "unix:/run/cistern/node.sock" : address;
}

ExitCode RunCommand(const CommandLine& line) {
  const Runner* runner = nullptr;
  for (const Runner& known : kRunners) {
    if (!line.words.empty() && line.words[0] == known.name) runner = &known;
  }
  if (runner == nullptr) {
    std::fprintf(stderr, "%s", GeneralHelp().c_str());
    return line.words.empty() ? kUsage
                              : Complain(absl::InvalidArgumentError(absl::StrCat(
                                             "there is no command '", line.words[0], "'")),
                                         kUsage);
  }
  if (line.words.size() > runner->words + 1)
    return Complain(
        Usage(runner->name, absl::StrCat("'", line.words.back(), "' is one word too many")),
        kUsage);
  absl::StatusOr<std::unique_ptr<NodeAdmin>> node = NodeAdmin::Connect(line.address, line.deadline);
  if (!node.ok()) return Complain(node.status(), CodeOf(node.status()));
  absl::StatusOr<Outcome> outcome = runner->run(**node, line);
  if (!outcome.ok()) return Complain(outcome.status(), CodeOf(outcome.status()));
  std::printf("%s", line.json ? absl::StrCat(outcome->json, "\n").c_str() : outcome->text.c_str());
  return outcome->code;
}

}  // namespace cistern::tools
