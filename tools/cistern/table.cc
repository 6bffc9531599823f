#include "tools/cistern/table.h"

#include <algorithm>
#include <utility>

namespace cistern::tools {

Table::Table(std::vector<std::string> columns) : names_(std::move(columns)) {
  for (std::string& name : names_) {
    right_.push_back(!name.empty() && name.back() == '>');
    if (right_.back()) name.pop_back();
  }
}

void Table::Row(std::vector<std::string> cells) {
  cells.resize(names_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  std::vector<size_t> widths;
  for (const std::string& name : names_) widths.push_back(name.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  const auto add_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string blanks(widths[i] - cells[i].size(), ' ');
      if (i > 0) line += "  ";
      line += right_[i] ? blanks + cells[i] : cells[i] + blanks;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line(names_);
  for (const auto& row : rows_) add_line(row);
  return text;
}

}  // namespace cistern::tools
