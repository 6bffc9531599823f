// Several workers at once: what they get together, how long one waits, and whether all get the
// same.
#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"

#include "base/status_macros.h"
#include "tools/bench/crew.h"
#include "tools/bench/transfer/transfer_run.h"

namespace cistern::tools {
namespace {

constexpr absl::Duration kWindow = absl::Milliseconds(250);
constexpr uint64_t kCrewBytes = 128ull << 20;
constexpr uint32_t kMaxSequences = 64;

// What a crew does in one window: each worker its operations one after another until the time is
// up, and at least one.
struct CrewWindow {
  std::vector<std::vector<double>> micros;  // [worker][operation]
  double gbps = 0;                          // of all workers
};

absl::StatusOr<CrewWindow> RunWindow(
    uint32_t workers, uint64_t bytes,
    const std::function<absl::Status(uint32_t worker, uint64_t operation)>& run) {
  CrewWindow window;
  window.micros.resize(workers);
  const absl::Duration end = MonotonicNow() + kWindow;
  CISTERN_ASSIGN_OR_RETURN(
      const absl::Duration took, RunCrew(workers, [&](uint32_t worker) -> absl::Status {
        std::vector<double>& micros = window.micros[worker];
        for (absl::Duration now = MonotonicNow(); micros.empty() || now < end;) {
          CISTERN_RETURN_IF_ERROR(run(worker, micros.size()));
          const absl::Duration then = std::exchange(now, MonotonicNow());
          micros.push_back(absl::ToDoubleMicroseconds(now - then));
        }
        return absl::OkStatus();
      }));
  uint64_t operations = 0;
  for (const std::vector<double>& of_one : window.micros) operations += of_one.size();
  window.gbps = static_cast<double>(operations * bytes) / absl::ToDoubleNanoseconds(took);
  return window;
}

// Threads that copy as many bytes at a time, one on each core: what so many workers can have.
class CopyingCrew {
 public:
  CopyingCrew(uint32_t threads, uint64_t bytes) {
    rings_.reserve(size_t{2} * threads);
    for (uint32_t i = 0; i < 2 * threads; ++i)
      rings_.push_back(std::make_unique<Ring>(kCrewBytes / 2, bytes));
  }
  absl::Status Copy(uint32_t thread) {
    const std::span<std::byte> from = rings_[size_t{2} * thread]->Next(),
                               to = rings_[size_t{2} * thread + 1]->Next();
    std::memcpy(to.data(), from.data(), from.size());
    asm volatile("" : : "r"(to.data()) : "memory");  // the copy is seen
    return absl::OkStatus();
  }

 private:
  std::vector<std::unique_ptr<Ring>> rings_;
};

// What all windows come to.
struct CrewTotals {
  Samples gbps, limit_gbps, micros;
  std::vector<uint64_t> operations;  // [worker]

  void Add(const CrewWindow& window) {
    gbps.Add(window.gbps);
    operations.resize(window.micros.size());
    for (size_t worker = 0; worker < window.micros.size(); ++worker) {
      operations[worker] += window.micros[worker].size();
      for (const double took : window.micros[worker]) micros.Add(took);
    }
  }

  TransferLine Line() const {
    TransferLine line{.path = "workers", .rounds = gbps.count(), .operations = micros.count()};
    line.gbps = gbps.Median();
    line.limit_gbps = limit_gbps.Median();
    line.p50_us = micros.Percentile(0.5);
    line.p99_us = micros.Percentile(0.99);
    line.workers = static_cast<uint32_t>(operations.size());
    const auto [least, most] = std::minmax_element(operations.begin(), operations.end());
    const double equal = static_cast<double>(line.operations) / line.workers;
    line.min_share = static_cast<double>(*least) / equal;
    line.max_share = static_cast<double>(*most) / equal;
    return line;
  }
};

// The workers of one shape: each with a connection and sequences of its own, which are stored.
class FetchingCrew {
 public:
  FetchingCrew(const TransferShape& shape, uint32_t workers)
      : shape_(shape),
        workers_(workers),
        each_(SequencesOfAWorker(shape.bytes(), workers)),
        objects_(shape.model, shape.tokens, workers * each_) {}

  absl::Status Store(Client& client) {
    caches_.reserve(objects_.count());
    for (uint32_t i = 0; i < objects_.count(); ++i) {
      objects_.Draw(i, i + 1);
      objects_.Compute(i);
      CISTERN_RETURN_IF_ERROR(PublishAll(client, objects_, i, objects_.Source(i)));
      caches_.push_back(objects_.Cache(i));
    }
    return absl::OkStatus();
  }

  absl::Status Connect(const std::string& address) {
    clients_.reserve(workers_);
    for (uint32_t i = 0; i < workers_; ++i) {
      CISTERN_ASSIGN_OR_RETURN(std::unique_ptr<Client> client,
                               Client::Connect({.address = address}));
      clients_.push_back(std::move(client));
    }
    return absl::OkStatus();
  }

  void Wipe() { objects_.Wipe(); }

  absl::Status Fetch(uint32_t worker, uint64_t operation) {
    const auto i = static_cast<uint32_t>(uint64_t{worker} * each_ + operation % each_);
    CISTERN_ASSIGN_OR_RETURN(Plan plan,
                             PlanAll(*clients_[worker], shape_.model, objects_.tokens(i)));
    return FetchAll(*clients_[worker], std::move(plan), caches_[i]).status();
  }

  // The bytes of all sequences that were fetched in that window, when they are right.
  absl::StatusOr<uint64_t> Check(const CrewWindow& window, bool flip) {
    if (flip) *objects_.Row(0, shape_.model.num_layers - 1, shape_.tokens - 1) ^= std::byte{1};
    uint64_t mismatches = 0, checked = 0;
    for (uint32_t worker = 0; worker < workers_; ++worker) {
      const uint64_t fetched = std::min<uint64_t>(each_, window.micros[worker].size());
      checked += fetched;
      for (uint32_t i = 0; i < fetched; ++i) mismatches += objects_.Mismatches(worker * each_ + i);
    }
    if (mismatches == 0) return checked * shape_.bytes();
    return absl::DataLossError(
        absl::StrCat(mismatches, " rows of ", shape_.name, " are not what was published"));
  }

 private:
  const TransferShape& shape_;
  const uint32_t workers_, each_;
  PagedObjects objects_;
  std::vector<PagedCache> caches_;                // [worker * each_ + sequence]
  std::vector<std::unique_ptr<Client>> clients_;  // [worker]
};

}  // namespace

uint32_t SequencesOfAWorker(uint64_t bytes, uint32_t workers) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(kCrewBytes / (bytes * workers), 1, kMaxSequences));
}

absl::Status MeasureWorkers(const TransferOptions& options, const TransferShape& shape,
                            TransferPeers& peers, CacheSweep& sweep, const EmitLine& emit) {
  TransferShape own = shape;  // a model of its own: its objects go at the end
  absl::StrAppend(&own.model.revision, " of workers");
  FetchingCrew crew(own, options.workers);
  CISTERN_RETURN_IF_ERROR(crew.Store(*peers.local));
  CISTERN_RETURN_IF_ERROR(crew.Connect(peers.address));
  const uint32_t threads = std::clamp(std::thread::hardware_concurrency(), 1u, options.workers);
  CopyingCrew copies(threads, own.bytes());
  CrewTotals totals;
  uint64_t verified = 0;
  for (uint32_t round = 0; round <= options.rounds; ++round) {
    crew.Wipe();
    for (const bool limits : {round % 2 == 0, round % 2 != 0}) {
      sweep.Sweep();
      CISTERN_ASSIGN_OR_RETURN(const CrewWindow window,
                               RunWindow(limits ? threads : options.workers, own.bytes(),
                                         [&](uint32_t worker, uint64_t operation) {
                                           return limits ? copies.Copy(worker)
                                                         : crew.Fetch(worker, operation);
                                         }));
      if (limits && round > 0) totals.limit_gbps.Add(window.gbps);
      if (limits) continue;
      if (round > 0) totals.Add(window);
      CISTERN_ASSIGN_OR_RETURN(const uint64_t right, crew.Check(window, options.flip_a_byte));
      verified += right;
    }
  }
  TransferLine line = totals.Line();
  line.object = own.name;
  line.bytes = own.bytes();
  line.limit = absl::StrCat("memcpy x", threads);
  line.verified_bytes = verified;
  emit(line);
  return EvictModel(*peers.raw, own.model);
}

}  // namespace cistern::tools
