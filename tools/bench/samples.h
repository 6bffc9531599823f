// Latencies and rates of one run.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace cistern::tools {

class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  size_t count() const { return values_.size(); }

  // The value that a share `p` of all lie at or below (nearest rank); 0 when there are none.
  double Percentile(double p) const {
    if (values_.empty()) return 0;
    std::vector<double> sorted = values_;
    const auto rank = static_cast<size_t>(std::lround(p * static_cast<double>(sorted.size() - 1)));
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                     sorted.end());
    return sorted[rank];
  }
  double Median() const { return Percentile(0.5); }

 private:
  std::vector<double> values_;
};

}  // namespace cistern::tools
