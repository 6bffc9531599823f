// The node's log: events with named values, as lines for people or as JSON for machines.
//
//   log.Info("session opened", {{"session", id}, {"peer", peer}});
//   2026-01-31T08:00:00.123Z info session opened session=7 peer="unix pid 123 uid 0"
//   {"time":"2026-01-31T08:00:00.123Z","level":"info","event":"session opened","session":7,...}
//
// Thread   any
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "cacheserver/config.h"

namespace cistern::cacheserver {

struct LogField {
  template <typename T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
  LogField(absl::string_view name, T number) : name(name) {
    if constexpr (std::is_same_v<T, bool>) {
      value = number ? "true" : "false";
    } else {
      value = absl::StrCat(number);
    }
  }
  LogField(absl::string_view name, absl::string_view text)
      : name(name), value(text), is_text(true) {}
  LogField(absl::string_view name, const std::string& text)
      : LogField(name, absl::string_view(text)) {}
  LogField(absl::string_view name, const char* text) : LogField(name, absl::string_view(text)) {}
  LogField(absl::string_view name, const absl::Status& status)
      : LogField(name, status.ToString()) {}

  absl::string_view name;
  std::string value;
  bool is_text = false;
};

class Log {
 public:
  using Fields = std::initializer_list<LogField>;

  // To standard error. `level` is one of NodeConfig's.
  Log(absl::string_view level, LogFormat format);
  // To a stream that outlives the log.
  Log(absl::string_view level, LogFormat format, std::ostream* out);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void Debug(absl::string_view event, Fields fields = {});
  void Info(absl::string_view event, Fields fields = {});
  void Warning(absl::string_view event, Fields fields = {});
  void Error(absl::string_view event, Fields fields = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cistern::cacheserver
