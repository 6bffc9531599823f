// What `cistern-bench python` says: one line for each kind of work, Python beside C++.
//
// Units  microseconds a call: the median over rounds of a round's median. `overhead_us` and `ratio`
// are medians over rounds of Python's less, and by, C++'s of the same round
#pragma once

#include <cstdint>
#include <string>

#include "tools/bench/samples.h"

namespace cistern::tools {

// What is wanted of a line; 0: that is not asked.
struct PythonGoal {
  double overhead_us_max = 0;
  double ratio_max = 0;
};

struct PythonLine {
  std::string work, what;
  uint64_t rounds = 0, calls = 0;  // calls: of one side in a round
  double cpp_us = 0, python_us = 0, overhead_us = 0, ratio = 0;
  PythonGoal goal;
  // publish_rows: what the rows lie in, whether what is described is the array's own memory, and
  // how far Python's resident memory rose above where it was before, of `bytes` published at once.
  std::string arrays;
  bool in_place = false;
  uint64_t bytes = 0, extra_bytes = 0;

  bool Meets() const;  // its goal; that nothing is copied as well
};

// The rounds of one line.
class PythonRounds {
 public:
  void Add(double cpp_us, double python_us);
  void Fill(PythonLine* line) const;

 private:
  Samples cpp_, python_, overhead_, ratio_;
};

std::string ToJson(const PythonLine& line);  // one line, without its end
std::string PythonTableHead();
std::string ToTableRow(const PythonLine& line);

}  // namespace cistern::tools
