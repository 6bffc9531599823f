#include "tools/bench/pools/open_loop.h"

#include <algorithm>
#include <chrono>
#include <compare>

namespace cistern::tools {
namespace {

enum class EventKind : uint8_t { kDeparture = 0, kGrowth = 1, kArrival = 2 };

struct Event {
  uint64_t tick;
  EventKind kind;
  uint32_t request;

  friend auto operator<=>(const Event&, const Event&) = default;
};

// Nothing that happens makes new events, so that they can be sorted once.
std::vector<Event> Events(const std::vector<PoolRequest>& requests) {
  std::vector<Event> events;
  uint64_t count = 0;
  for (const PoolRequest& r : requests) count += 3 + r.generated / PoolModel::kPageTokens;
  events.reserve(count);
  for (uint32_t id = 0; id < requests.size(); ++id) {
    const PoolRequest& r = requests[id];
    events.push_back({r.arrival, EventKind::kArrival, id});
    events.push_back({r.arrival + r.ticks(), EventKind::kDeparture, id});
    // Token number PagesFor * 16 + 1 needs the next page; at the tick of its departure a request
    // has gone.
    for (uint64_t token = uint64_t{PagesFor(r.prompt)} * PoolModel::kPageTokens + 1;
         token < r.ticks(); token += PoolModel::kPageTokens) {
      events.push_back({r.arrival + token, EventKind::kGrowth, id});
    }
  }
  std::sort(events.begin(), events.end());
  return events;
}

class OpenLoop {
 public:
  OpenLoop(const std::vector<PoolRequest>& requests, PoolPolicy& policy)
      : requests_(requests), policy_(policy), failed_(requests.size()) {}

  void Step(const Event& event) {
    switch (event.kind) {
      case EventKind::kArrival:
        for (uint32_t i = 0; i < PoolModel::kAttentionLayers; ++i) {
          Ask(event.request, BlockKind::kPage, PagesFor(requests_[event.request].prompt));
        }
        for (uint32_t i = 0; i < PoolModel::kStateLayers; ++i) {
          Ask(event.request, BlockKind::kState, 1);
        }
        return;
      case EventKind::kGrowth:
        for (uint32_t i = 0; i < PoolModel::kAttentionLayers; ++i) {
          Ask(event.request, BlockKind::kPage, 1);
        }
        return;
      case EventKind::kDeparture:
        Depart(event.request);
    }
  }
  OpenLoopResult& result() { return result_; }

 private:
  void Ask(uint32_t request, BlockKind kind, uint32_t count) {
    if (policy_.Allocate(request, kind, count)) return;
    ++result_.oom;
    failed_[request] = true;
  }
  void Depart(uint32_t request) {
    policy_.Release(request);
    if (failed_[request]) return;
    ++result_.completed;
    if (!policy_.damaged(request)) ++result_.intact;
  }

  const std::vector<PoolRequest>& requests_;
  PoolPolicy& policy_;
  std::vector<bool> failed_;
  OpenLoopResult result_;
};

}  // namespace

OpenLoopResult RunOpenLoop(const std::vector<PoolRequest>& requests, PoolPolicy& policy) {
  const std::vector<Event> events = Events(requests);
  OpenLoop loop(requests, policy);
  const auto begin = std::chrono::steady_clock::now();
  for (const Event& event : events) loop.Step(event);
  loop.result().seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return loop.result();
}

}  // namespace cistern::tools
