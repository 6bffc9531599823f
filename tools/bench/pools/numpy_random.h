// The draws of numpy's default_rng: the same bits from integers and random, the same numbers but
// for the last two digits (2e-14 of the value) from the ziggurats.
//
// PCG64 (128-bit linear congruential state, XSL-RR output) seeded through SeedSequence; bounded
// integers by Lemire's method on halves of 64-bit draws; normal and exponential by ziggurats of 256
// layers. The tables are computed, in extended precision, from the ziggurats' definition.
//
// Thread   one at a time
// Source   M. O'Neill, HMC-CS-2014-0905 (PCG); D. Lemire, arXiv 1805.10941; G. Marsaglia and
//          W. Tsang, J. Stat. Softw. 5(8), 2000; the order of draws is numpy 1.17's and later
#pragma once

#include <array>
#include <cstdint>

namespace cistern::tools {

class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed);

  uint64_t Next64();
  // integers(low, high): `low` + 1 < `high`, and the difference is below 2^32.
  uint64_t Integer(uint64_t low, uint64_t high);
  // random(): [0, 1)
  double Uniform() { return static_cast<double>(Next64() >> 11) * 0x1p-53; }
  double Normal();       // mean 0, deviation 1
  double Exponential();  // mean 1

 private:
  __extension__ using Word = unsigned __int128;

  uint32_t Next32();
  void Step() { state_ = state_ * multiplier_ + increment_; }

  Word multiplier_;
  Word state_ = 0;
  Word increment_ = 0;
  bool has_half_ = false;  // the upper half of a draw waits for the next call of Next32
  uint32_t half_ = 0;
};

}  // namespace cistern::tools
