// What `cistern-bench states` says: one line for each kernel, layer and number of tokens.
//
// Units  GB/s = 10^9 bytes of state a second, medians over rounds. A fold's state counts once, as
//        in a memcpy; a decode's once for each token, its flush included in the time. The limit is
//        what the same state takes by memcpy (fold), by one reading pass for each token and a
//        memcpy for the flush (decode), by one reading pass and a memcpy (verify), in the same
//        rounds. Ratio and speedups are medians over rounds of each round's own: what slows a whole
//        round down does not change them
#pragma once

#include <cstdint>
#include <string>

namespace cistern::tools {

struct StatesLine {
  std::string kernel, model, family, shape;
  uint32_t batch = 0, tokens = 0, rounds = 0;
  double gbps = 0, limit_gbps = 0;
  double ratio_to_limit = 0, speedup_over_steps = 0, speedup_over_ring16 = 0;
  double max_rel_l2 = 0;  // of state and answers, to a float64 reference
};

std::string ToJson(const StatesLine& line);  // one line, without its end
std::string StatesTableHead();
std::string ToTableRow(const StatesLine& line);

}  // namespace cistern::tools
