#include "client_lib/src/chunker.h"

#include <algorithm>

namespace cistern::client {
namespace {

constexpr int kShift = 4;
static_assert(64 / kShift == Chunker::kWindowTokens);
static_assert(Chunker::kMinTokens > Chunker::kWindowTokens,
              "else a cut would depend on the chunk before");

// 128 tokens are 7 bits; normalisation level 1 asks one more of an early cut and one less of a late
// one.
constexpr int kEarlyBits = 8;
constexpr int kLateBits = 6;

constexpr uint64_t kSeed = 0x4369737465726e31;  // "Cistern1"

// SplitMix64 (Steele et al., OOPSLA 2014). Computed, not looked up: a table for 200,000 ids is 1.6
// MB, out of the second-level cache, and was measured slower (chunker_bench.cc).
inline uint64_t Gear(base::TokenId token) {
  uint64_t x = (token ^ kSeed) + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr base::TokenId kLargestBit = 1 << 20;  // vocabularies have up to about 260,000 ids

}  // namespace

Chunker::Chunker(std::span<const base::TokenId> boundary_tokens, std::vector<uint32_t>* ends)
    : ends_(ends) {
  for (base::TokenId token : boundary_tokens) {
    if (token >= kLargestBit) {
      boundary_large_.push_back(token);
      continue;
    }
    if (boundary_bits_.size() <= token / 64) boundary_bits_.resize(token / 64 + 1);
    boundary_bits_[token / 64] |= uint64_t{1} << (token % 64);
  }
  std::sort(boundary_large_.begin(), boundary_large_.end());
}

void Chunker::Cut() {
  ends_->push_back(position_);
  size_ = 0;
  hash_ = 0;
}

void Chunker::Boundary() {
  if (size_ > 0) Cut();
}

void Chunker::Append(std::span<const base::TokenId> tokens) {
  if (boundary_bits_.empty() && boundary_large_.empty()) {
    AppendPlain(tokens);
    return;
  }
  const auto is_boundary = [this](base::TokenId token) {
    return IsBoundaryToken(token) ||
           (token >= kLargestBit &&
            std::binary_search(boundary_large_.begin(), boundary_large_.end(), token));
  };
  while (!tokens.empty()) {
    if (is_boundary(tokens.front())) Boundary();
    const auto next = std::find_if(tokens.begin() + 1, tokens.end(), is_boundary);
    const size_t count = static_cast<size_t>(next - tokens.begin());
    AppendPlain(tokens.first(count));
    tokens = tokens.subspan(count);
  }
}

void Chunker::AppendPlain(std::span<const base::TokenId> tokens) {
  const base::TokenId* at = tokens.data();
  const base::TokenId* const end = at + tokens.size();
  // Advances to where the open chunk has `size` tokens, or to the end of the input.
  const auto until = [&](uint32_t size) { return at + std::min<size_t>(size - size_, end - at); };
  const auto advance_to = [&](const base::TokenId* to) {
    size_ += static_cast<uint32_t>(to - at);
    position_ += static_cast<uint32_t>(to - at);
    at = to;
  };
  while (at != end) {
    // A cut before kMinTokens is impossible and the window is shorter than that: what lies before
    // it is not hashed.
    if (size_ < kMinTokens - kWindowTokens) advance_to(until(kMinTokens - kWindowTokens));
    if (size_ < kMinTokens - 1) {
      const base::TokenId* const stop = until(kMinTokens - 1);
      uint64_t hash = hash_;
      for (const base::TokenId* t = at; t != stop; ++t) hash = (hash << kShift) + Gear(*t);
      hash_ = hash;
      advance_to(stop);
    }
    if (at == end) return;
    const bool early = size_ < kAvgTokens - 1;
    const int shift = 64 - (early ? kEarlyBits : kLateBits);
    const base::TokenId* const stop = until(early ? kAvgTokens - 1 : kMaxTokens);
    const base::TokenId* t = at;
    uint64_t hash = hash_;
    bool found = false;
    while (t != stop && !found) {
      hash = (hash << kShift) + Gear(*t++);
      found = hash >> shift == 0;
    }
    hash_ = hash;
    advance_to(t);
    if (found || size_ == kMaxTokens) Cut();
  }
}

std::vector<uint32_t> ChunkEnds(std::span<const base::TokenId> tokens,
                                std::span<const uint32_t> part_boundaries,
                                std::span<const base::TokenId> boundary_tokens) {
  std::vector<uint32_t> ends;
  ends.reserve(tokens.size() / Chunker::kAvgTokens + part_boundaries.size() + 1);
  Chunker chunker(boundary_tokens, &ends);
  size_t from = 0;
  for (uint32_t boundary : part_boundaries) {
    chunker.Append(tokens.subspan(from, boundary - from));
    chunker.Boundary();
    from = boundary;
  }
  chunker.Append(tokens.subspan(from));
  chunker.Finish();
  return ends;
}

}  // namespace cistern::client
