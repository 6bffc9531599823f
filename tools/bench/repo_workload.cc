#include "tools/bench/repo_workload.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string_view>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "base/status_macros.h"

namespace cistern::tools {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVocabulary = 128000;
constexpr absl::string_view kSystemText =
    "You are a careful engineer who reads a source tree and answers questions about it. Read the "
    "files that are shown "
    "below before you answer. Quote the names of functions and types exactly. Say what a change "
    "would break, and which "
    "tests show it. When a file that you need is missing, ask for it by its path. Answer in short "
    "sentences, without "
    "repeating the question. Tools: view(path) shows a file; search(text) lists the places where a "
    "text occurs; "
    "build(target) compiles; test(filter) runs the tests and shows what failed. Every answer ends "
    "with the next step.";

enum class Kind { kWord, kBlank, kOther };

Kind KindOf(char c) {
  if (absl::ascii_isalnum(c) || c == '_') return Kind::kWord;
  if (absl::ascii_isspace(c)) return Kind::kBlank;
  return Kind::kOther;
}

bool IsSource(const fs::path& path) {
  constexpr std::string_view kSuffixes[] = {".cc",  ".h",     ".md", ".py",
                                            ".txt", ".capnp", ".sh", ".json"};
  return std::ranges::find(kSuffixes, path.extension().string()) != std::end(kSuffixes);
}

bool IsHidden(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(".") || name == "build";
}

absl::StatusOr<std::vector<fs::path>> SourceFiles(const RepoWorkloadOptions& options) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator it(options.root, fs::directory_options::skip_permission_denied,
                                      error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->is_directory() && IsHidden(it->path())) it.disable_recursion_pending();
    if (it->is_regular_file() && IsSource(it->path())) files.push_back(it->path());
  }
  if (files.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no source files under '", options.root, "'; name a source tree with --root"));
  }
  std::sort(files.begin(), files.end());
  // Evenly over the tree, so that every folder has its say.
  std::vector<fs::path> chosen;
  const size_t count = std::min<size_t>(files.size(), options.max_files);
  for (size_t i = 0; i < count; ++i) chosen.push_back(files[i * files.size() / count]);
  return chosen;
}

Piece View(const fs::path& file, const RepoWorkloadOptions& options) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << "view(" << fs::relative(file, options.root).string() << ")\n" << in.rdbuf();
  Piece whole = Tokenize(text.str());
  if (whole->size() <= options.max_file_tokens) return whole;
  return std::make_shared<const std::vector<base::TokenId>>(
      whole->begin(), whole->begin() + options.max_file_tokens);
}

absl::StatusOr<std::vector<Piece>> Views(const RepoWorkloadOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<fs::path> files, SourceFiles(options));
  std::vector<Piece> views;
  for (const fs::path& file : files) {
    if (Piece view = View(file, options); !view->empty()) views.push_back(std::move(view));
  }
  if (views.empty()) return absl::NotFoundError("the source files are empty");
  return views;
}

// `count` words of a fixed text, differently chosen each time.
Piece Words(absl::string_view opening, uint64_t count, std::mt19937_64& random) {
  std::string text(opening);
  for (uint64_t i = 0; i < count; ++i) absl::StrAppend(&text, " w", random() % 2000);
  return Tokenize(text);
}

// What agents put in front of a prompt, and what breaks every prefix cache: the clock, the turn,
// fresh notes.
Piece Header(uint32_t turn, std::mt19937_64& random) {
  const uint64_t seconds = 9 * 3600 + turn * 37 + random() % 20;
  std::string text = absl::StrFormat("time %02d:%02d:%02d turn %d notes:", seconds / 3600,
                                     seconds / 60 % 60, seconds % 60, turn);
  for (uint64_t i = 0, n = 8 + random() % 24; i < n; ++i)
    absl::StrAppend(&text, " n", random() % 100000);
  return Tokenize(text);
}

}  // namespace

Piece Tokenize(absl::string_view text) {
  std::vector<base::TokenId> tokens;
  size_t begin = 0;
  while (begin < text.size()) {
    const Kind kind = KindOf(text[begin]);
    size_t end = begin + 1;
    while (kind != Kind::kOther && end < text.size() && KindOf(text[end]) == kind) ++end;
    // A single space belongs to what follows, as in real vocabularies.
    if (!(kind == Kind::kBlank && text.substr(begin, end - begin) == " ")) {
      tokens.push_back(static_cast<base::TokenId>(
          base::HashBytes(text.substr(begin, end - begin)).lo % kVocabulary));
    }
    begin = end;
  }
  return std::make_shared<const std::vector<base::TokenId>>(std::move(tokens));
}

absl::StatusOr<Trace> MakeRepoWorkload(const RepoWorkloadOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<Piece> views, Views(options));
  const Piece system = Tokenize(kSystemText);
  std::mt19937_64 random(options.seed);
  std::vector<size_t> order(views.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;

  Trace trace{"repo", {}};
  for (uint32_t turn = 0; turn < options.calls; ++turn) {
    Call call;
    call.parts = {Header(turn, random), system};
    std::shuffle(order.begin(), order.end(), random);
    for (size_t i = 0; i < std::min<size_t>(options.files_per_call, views.size()); ++i) {
      call.parts.push_back(views[order[i]]);
    }
    call.parts.push_back(Tokenize(absl::StrCat("question ", turn, ": what does item ",
                                               random() % 1000, " do, and who calls it?")));
    trace.calls.push_back(std::move(call));
  }
  return trace;
}

absl::StatusOr<Trace> MakeSessionWorkload(const RepoWorkloadOptions& options) {
  CISTERN_ASSIGN_OR_RETURN(const std::vector<Piece> views, Views(options));
  const Piece system = Tokenize(kSystemText);
  std::mt19937_64 random(options.seed);
  const uint32_t sessions = std::max(1u, options.sessions);
  std::vector<std::vector<Piece>> history(sessions, {system});
  Trace trace{"sessions", {}};
  for (uint32_t i = 0; i < options.calls; ++i) {
    const uint32_t session = i % sessions, turn = i / sessions;
    std::vector<Piece>& parts = history[session];
    const bool popular = turn == 0 && session % 2 == 0;
    if (turn % 3 == 0) parts.push_back(popular ? views[0] : views[random() % views.size()]);
    parts.push_back(Words(absl::StrCat("question ", turn, ":"), 8 + random() % 24, random));
    const Piece answer = Words("answer:", 10 + random() % 50, random);
    trace.calls.push_back({parts, answer});
    parts.push_back(answer);
  }
  return trace;
}

}  // namespace cistern::tools
