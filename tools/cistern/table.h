// Columns of text for people.
//
//   Table table({"KEY", "TOKENS>"});     a name that ends in '>' is a column of numbers, set right
//   table.Row({"0af3...", "128"});
//   table.Text()
#pragma once

#include <string>
#include <vector>

namespace cistern::tools {

class Table {
 public:
  explicit Table(std::vector<std::string> columns);
  void Row(std::vector<std::string> cells);  // as many as there are columns
  size_t rows() const { return rows_.size(); }
  std::string Text() const;  // heading, rows, each ended by a newline; no blanks at a line's end

 private:
  std::vector<std::string> names_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace cistern::tools
