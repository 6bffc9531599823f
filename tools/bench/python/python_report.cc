#include "tools/bench/python/python_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include <nlohmann/json.hpp>

namespace cistern::tools {
namespace {

std::string TextOf(const PythonGoal& goal) {
  std::string text;
  if (goal.overhead_us_max > 0) absl::StrAppendFormat(&text, "+%.0f us", goal.overhead_us_max);
  if (goal.ratio_max > 0)
    absl::StrAppendFormat(&text, "%sx%.2f", text.empty() ? "" : ", ", goal.ratio_max);
  return text;
}

}  // namespace

bool PythonLine::Meets() const {
  if (goal.overhead_us_max > 0 && overhead_us > goal.overhead_us_max) return false;
  if (goal.ratio_max > 0 && ratio > goal.ratio_max) return false;
  return bytes == 0 || (in_place && extra_bytes < bytes / 2);
}

void PythonRounds::Add(double cpp_us, double python_us) {
  cpp_.Add(cpp_us);
  python_.Add(python_us);
  overhead_.Add(python_us - cpp_us);
  if (cpp_us > 0) ratio_.Add(python_us / cpp_us);
}

void PythonRounds::Fill(PythonLine* line) const {
  line->rounds = cpp_.count();
  line->cpp_us = cpp_.Median();
  line->python_us = python_.Median();
  line->overhead_us = overhead_.Median();
  line->ratio = ratio_.Median();
}

std::string ToJson(const PythonLine& line) {
  nlohmann::ordered_json json = {{"work", line.work},
                                 {"what", line.what},
                                 {"cpp_us", line.cpp_us},
                                 {"python_us", line.python_us},
                                 {"overhead_us", line.overhead_us},
                                 {"ratio", line.ratio}};
  if (line.goal.overhead_us_max > 0) json["overhead_us_max"] = line.goal.overhead_us_max;
  if (line.goal.ratio_max > 0) json["ratio_max"] = line.goal.ratio_max;
  if (line.bytes > 0) {
    json["arrays"] = line.arrays;
    json["in_place"] = line.in_place;
    json["bytes"] = line.bytes;
    json["extra_bytes"] = line.extra_bytes;
  }
  json["meets"] = line.Meets();
  json["rounds"] = line.rounds;
  json["calls"] = line.calls;
  return json.dump();
}

std::string PythonTableHead() {
  return absl::StrFormat("%-13s %-34s %10s %10s %10s %6s  %-15s %s\n", "work", "what", "C++ us",
                         "Python us", "overhead", "ratio", "wanted", "met");
}

std::string ToTableRow(const PythonLine& line) {
  std::string row = absl::StrFormat("%-13s %-34s %10.1f %10.1f %10.1f %6.2f  %-15s %s", line.work,
                                    line.what, line.cpp_us, line.python_us, line.overhead_us,
                                    line.ratio, TextOf(line.goal), line.Meets() ? "yes" : "no");
  if (line.bytes > 0) {
    absl::StrAppendFormat(&row, "  %s, %s, +%.1f MiB resident", line.arrays,
                          line.in_place ? "in place" : "copied",
                          static_cast<double>(line.extra_bytes) / (1 << 20));
  }
  return row + "\n";
}

}  // namespace cistern::tools
