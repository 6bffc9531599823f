#include "base/command_line.h"

#include <cstdint>
#include <map>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace cistern::base {
namespace {

constexpr size_t kWidth = 100;
constexpr absl::string_view kIndent = "      ";

// Those that absl brings (--flagfile, --undefok ...) are no flags of ours.
bool IsOurs(const absl::CommandLineFlag& flag) {
  const std::string file = flag.Filename();
  return !absl::StrContains(file, "absl/flags/");
}

absl::CommandLineFlag* FindOurs(absl::string_view name) {
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  return flag != nullptr && IsOurs(*flag) ? flag : nullptr;
}

absl::string_view WhatIsLegal(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<bool>()) return "give true or false";
  if (flag.IsOfType<uint32_t>() || flag.IsOfType<uint64_t>())
    return "give a whole number, not negative";
  if (flag.IsOfType<int32_t>() || flag.IsOfType<int64_t>()) return "give a whole number";
  if (flag.IsOfType<double>() || flag.IsOfType<float>()) return "give a number";
  if (flag.IsOfType<absl::Duration>())
    return "give a duration with its unit, such as 500ms, 30s or 10m";
  return "--help explains it";
}

absl::Status Set(absl::CommandLineFlag& flag, absl::string_view value) {
  std::string ignored;
  if (flag.ParseFrom(value, &ignored)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag.Name(), " = '", value, "': ", WhatIsLegal(flag)));
}

// "--name" or "-name": the word without its dashes. A lone "-" is a word.
bool ConsumeDashes(absl::string_view* word) {
  if (word->size() < 2 || !absl::ConsumePrefix(word, "-")) return false;
  absl::ConsumePrefix(word, "-");
  return true;
}

// Sets the flag that `word` (without dashes) names; `next` is the value that may follow. Says
// whether `next` was used.
absl::StatusOr<bool> SetFrom(absl::string_view word, const char* next) {
  const size_t equals = word.find('=');
  const absl::string_view name = word.substr(0, equals);
  absl::CommandLineFlag* flag = FindOurs(name);
  absl::string_view without_no = name;
  if (flag == nullptr && equals == absl::string_view::npos &&
      absl::ConsumePrefix(&without_no, "no")) {
    absl::CommandLineFlag* turned_off = FindOurs(without_no);
    if (turned_off != nullptr && turned_off->IsOfType<bool>()) {
      const absl::Status set = Set(*turned_off, "false");
      return set.ok() ? absl::StatusOr<bool>(false) : set;
    }
  }
  if (flag == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("there is no flag --", name, "; --help lists those that there are"));
  const bool wants_next = equals == absl::string_view::npos && !flag->IsOfType<bool>();
  if (wants_next && next == nullptr)
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " has no value: ", WhatIsLegal(*flag)));
  const absl::Status set =
      Set(*flag, wants_next                          ? next
                 : equals == absl::string_view::npos ? "true"
                                                     : word.substr(equals + 1));
  return set.ok() ? absl::StatusOr<bool>(wants_next) : set;
}

// "replay, peers: what it does" is for these two commands; a text without such words, for all.
bool IsFor(absl::string_view help, absl::string_view command) {
  const size_t colon = help.find(": ");
  if (command.empty() || colon == absl::string_view::npos) return true;
  bool names_commands = true, named = false;
  for (const absl::string_view word : absl::StrSplit(help.substr(0, colon), ", ")) {
    names_commands = names_commands && !absl::StrContains(word, ' ');
    named = named || word == command;
  }
  return named || !names_commands;
}

std::string Wrapped(absl::string_view text) {
  std::string out, line;
  for (const absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (!line.empty() && kIndent.size() + line.size() + 1 + word.size() > kWidth) {
      absl::StrAppend(&out, kIndent, line, "\n");
      line.clear();
    }
    absl::StrAppend(&line, line.empty() ? "" : " ", word);
  }
  return absl::StrCat(out, kIndent, line, "\n");
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseCommandLine(int argc, const char* const* argv) {
  std::vector<std::string> words;
  bool flags = true;
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    if (flags && word == "--") {
      flags = false;
    } else if (!flags || !ConsumeDashes(&word)) {
      words.emplace_back(argv[i]);
    } else {
      absl::StatusOr<bool> used_next = SetFrom(word, i + 1 < argc ? argv[i + 1] : nullptr);
      if (!used_next.ok()) return used_next.status();
      i += *used_next ? 1 : 0;
    }
  }
  return words;
}

bool HasFlag(int argc, const char* const* argv, absl::string_view name) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view word = argv[i];
    if (word == "--") return false;
    if (ConsumeDashes(&word) && word == name) return true;
  }
  return false;
}

std::string FlagsHelp(absl::string_view command) {
  std::map<absl::string_view, absl::CommandLineFlag*> by_name;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (IsOurs(*flag) && IsFor(flag->Help(), command)) by_name[name] = flag;
  }
  std::string help;
  for (const auto& [name, flag] : by_name) {
    const std::string value = flag->DefaultValue();
    absl::StrAppend(&help, "  --", name, "=", value.empty() ? "\"\"" : value, "\n",
                    Wrapped(flag->Help()));
  }
  return help;
}

}  // namespace cistern::base
