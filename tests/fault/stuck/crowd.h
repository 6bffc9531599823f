// Workers in threads of this process, each with a client of its own, that make turns until they are
// stopped.
//
// Thread   one at a time
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"

#include "base/mutex.h"
#include "tests/fault/stuck/turns.h"

namespace cistern::stuck {

struct Tally {
  uint64_t turns = 0;
  uint64_t good = 0;  // without trouble, and something was reused
  uint64_t reused = 0, missing = 0, segments = 0, dropped = 0;
  uint64_t wrong_rows = 0;
  absl::Duration latest = -absl::InfiniteDuration();  // beyond its deadline, of any call
  absl::Duration longest_good;                        // the calls of a good turn
  std::map<std::string, uint64_t> troubles;           // by code

  void Add(const Turn& turn);
  void Add(const Tally& other);
  std::string ToString() const;
};

class Crowd {
 public:
  Crowd(const ClientOptions& options, const Deadlines& deadlines, uint32_t workers, uint64_t seed,
        uint32_t texts = 24);
  ~Crowd() { Stop(); }

  // Until each worker has made a good turn that began after this call.
  void AwaitGoodTurns(const std::string& when);
  // Until one of them has met with trouble.
  void AwaitTrouble(const std::string& when);
  // Their clients are gone afterwards.
  Tally Stop();

 private:
  struct Hand {
    std::thread thread;
    std::atomic<uint64_t> good{0}, bad{0};
    base::Mutex mutex;
    Tally tally;
  };
  void Work(const ClientOptions& options, const Deadlines& deadlines, uint64_t seed, uint32_t texts,
            Hand* hand);

  std::atomic<bool> stop_{false};
  std::vector<std::unique_ptr<Hand>> hands_;
};

}  // namespace cistern::stuck
