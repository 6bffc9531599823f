// A worker as an engine would be one: turns of plan, fetch, compute what did not come, publish,
// over texts that come again and again at other positions. Every row that comes from the cache is
// compared with what computing it gives, and every call is held against its deadline.
//
// Thread   one worker, one thread
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

#include "base/model_spec.h"
#include "cistern/client.h"
#include "tools/bench/worker_cache.h"

namespace cistern::stuck {

struct Deadlines {
  absl::Duration plan = absl::Milliseconds(300);
  absl::Duration fetch = absl::Milliseconds(300);
  absl::Duration publish = absl::Milliseconds(300);
};

struct Turn {
  absl::Status trouble;  // the first call that ended in an error; rows that did not come are none
  uint32_t reused = 0;   // tokens that came from the cache
  uint32_t missing = 0;  // planned, and did not come
  uint64_t segments = 0, had = 0, dropped = 0;  // of the publish
  uint64_t wrong_rows = 0;
  absl::Duration late;  // the most by which a call outlived its deadline; below zero: none did
  absl::Duration took;  // of all calls together
};

// Two layers of DeepSeek-V2-Lite's rows.
base::ModelSpec TurnModel();

// A client that comes back soon.
ClientOptions QuickOptions(const std::string& address, const Deadlines& deadlines = {},
                           bool want_mapping = true);

class TurnWorker {
 public:
  // Workers with other `texts` share nothing.
  explicit TurnWorker(uint64_t seed, const Deadlines& deadlines = {}, uint32_t texts = 24);

  // With a prompt of some texts in any order.
  Turn Run(Client& client);
  // With this one.
  Turn Run(Client& client, const std::vector<uint32_t>& texts);

 private:
  FetchResult PlanAndFetch(Client& client, Turn* turn);
  void ComputeTheRest(const FetchResult& fetched);

  const Deadlines deadlines_;
  const uint32_t texts_;
  const base::ModelSpec model_ = TurnModel();
  std::mt19937_64 random_;
  tools::WorkerCache cache_;
  std::vector<base::TokenId> tokens_;
  std::vector<uint32_t> boundaries_;
};

}  // namespace cistern::stuck
