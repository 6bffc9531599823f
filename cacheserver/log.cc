#include "cacheserver/log.h"

#include "absl/strings/escaping.h"

#include "nlohmann/json.hpp"
#include "spdlog/logger.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/ostream_sink.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace cistern::cacheserver {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%eZ %l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

std::string Quoted(absl::string_view text) {
  return nlohmann::json(std::string(text))
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string TextLine(absl::string_view event, Log::Fields fields) {
  std::string line(event);
  for (const LogField& field : fields)
    absl::StrAppend(&line, " ", field.name, "=", field.is_text ? Quoted(field.value) : field.value);
  return line;
}

std::string JsonLine(absl::string_view event, Log::Fields fields) {
  std::string line = absl::StrCat("\"event\":", Quoted(event));
  for (const LogField& field : fields) {
    const bool number = !field.is_text && field.value != "nan" && field.value != "inf";
    absl::StrAppend(&line, ",", Quoted(field.name), ":",
                    number ? field.value : Quoted(field.value));
  }
  return line;
}

}  // namespace

struct Log::Impl {
  Impl(absl::string_view level, LogFormat format, std::shared_ptr<spdlog::sinks::sink> sink)
      : logger("cistern", std::move(sink)), format(format) {
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
        format == LogFormat::kJson ? kJsonPattern : kTextPattern, spdlog::pattern_time_type::utc));
    logger.set_level(spdlog::level::from_str(std::string(level)));
    logger.flush_on(spdlog::level::trace);
  }

  void Write(spdlog::level::level_enum level, absl::string_view event, Fields fields) {
    if (!logger.should_log(level)) return;
    const std::string line =
        format == LogFormat::kJson ? JsonLine(event, fields) : TextLine(event, fields);
    logger.log(level, spdlog::string_view_t(line.data(), line.size()));
  }

  spdlog::logger logger;
  const LogFormat format;
};

Log::Log(absl::string_view level, LogFormat format)
    : impl_(std::make_unique<Impl>(level, format,
                                   std::make_shared<spdlog::sinks::stderr_sink_mt>())) {}
Log::Log(absl::string_view level, LogFormat format, std::ostream* out)
    : impl_(std::make_unique<Impl>(level, format,
                                   std::make_shared<spdlog::sinks::ostream_sink_mt>(*out))) {}
Log::~Log() = default;

void Log::Debug(absl::string_view event, Fields fields) {
  impl_->Write(spdlog::level::debug, event, fields);
}
void Log::Info(absl::string_view event, Fields fields) {
  impl_->Write(spdlog::level::info, event, fields);
}
void Log::Warning(absl::string_view event, Fields fields) {
  impl_->Write(spdlog::level::warn, event, fields);
}
void Log::Error(absl::string_view event, Fields fields) {
  impl_->Write(spdlog::level::err, event, fields);
}

}  // namespace cistern::cacheserver
