#include "cacheserver/demoter.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"

#include "cacheserver/layout.h"
#include "cacheserver/trim_disk.h"
#include "cacheserver/work_pool.h"

namespace cistern::cacheserver {

using storage::Demotion;
using storage::Store;

Demoter::Demoter(const DemoterOptions& options, Parts parts)
    : options_(options), parts_(std::move(parts)), thread_([this] {
        NameThread(options_.thread_name);
        Run();
      }) {}

Demoter::~Demoter() { Stop(); }

void Demoter::Kick() {
  base::MutexLock lock(&mutex_);
  kicked_ = true;
  changed_.notify_one();
}

void Demoter::MakeRoom() {
  base::MutexLock lock(&mutex_);
  room_wanted_ = true;
  changed_.notify_one();
}

void Demoter::Flush(absl::Time give_up, absl::AnyInvocable<void(FlushReport)> done) {
  {
    base::MutexLock lock(&mutex_);
    if (!stopping_) {
      flushes_.push_back({give_up, std::move(done), {}});
      changed_.notify_one();
      return;
    }
  }
  FlushReport stopped;
  stopped.first_error = absl::UnavailableError("the node is stopping");
  done(stopped);
}

void Demoter::Stop() {
  {
    base::MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Demoter::Run() {
  for (;;) {
    bool room_wanted = false;
    std::list<FlushRequest> flushes;
    {
      base::MutexLock lock(&mutex_);
      changed_.wait(mutex_, [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return stopping_ || kicked_ || room_wanted_ || !flushes_.empty();
      });
      if (stopping_ && flushes_.empty()) return;
      kicked_ = false;
      room_wanted = std::exchange(room_wanted_, false);
      flushes.swap(flushes_);
    }
    for (FlushRequest& request : flushes) Serve(std::move(request));
    if (room_wanted && Batch(/*only_above_watermark=*/false).room_came()) parts_.room_came();
    Round(options_.eager);
  }
}

void Demoter::Round(bool everything) {
  for (;;) {
    {
      base::MutexLock lock(&mutex_);
      if (stopping_ || room_wanted_ || !flushes_.empty()) return;  // they go first
    }
    const BatchResult batch = Batch(/*only_above_watermark=*/!everything);
    if (batch.room_came()) parts_.room_came();
    if (!batch.progress()) return;
  }
}

void Demoter::Serve(FlushRequest request) {
  FlushReport& report = request.report;
  bool tried_again = false;
  for (;;) {
    const BatchResult batch = Batch(/*only_above_watermark=*/false);
    // An empty batch lets those try again, once a flush, that an earlier write failed for.
    if (batch.taken == 0 && !std::exchange(tried_again, true)) continue;
    report.objects += batch.written;
    report.bytes += batch.bytes;
    report.failures += batch.taken - batch.written;
    if (report.first_error.ok()) report.first_error = batch.first_error;
    if (batch.room_came()) parts_.room_came();
    if (!batch.progress() || parts_.clock->Now() >= request.give_up) break;
  }
  report.dirty_bytes_left =
      parts_.store->With([](Store& store) { return store.Stats().dirty_bytes; });
  request.done(report);
}

void Demoter::DeleteDropped(std::vector<storage::RecordKey> drops) {
  drops.insert(drops.end(), undeleted_.begin(), undeleted_.end());
  undeleted_.clear();
  if (drops.empty()) return;
  if (absl::Status deleted = parts_.below->Delete(drops); !deleted.ok()) {
    parts_.log->Error("records could not be deleted; they are tried again",
                      {{"records", drops.size()}, {"error", deleted}});
    undeleted_ = std::move(drops);
  }
}

Demoter::BatchResult Demoter::Batch(bool only_above_watermark) {
  std::vector<storage::RecordKey> drops;
  std::vector<Demotion> demotions;
  parts_.store->With([&](Store& store) {
    drops = store.TakeRecordDrops();
    demotions = store.TakeDemotions(options_.batch_bytes, only_above_watermark);
  });
  DeleteDropped(std::move(drops));
  // Their new records take the place of old ones that could not be deleted, now or earlier.
  for (const Demotion& demotion : demotions) {
    std::erase(undeleted_, storage::RecordKey{demotion.header.content, demotion.header.context});
  }
  BatchResult result;
  result.taken = demotions.size();
  if (demotions.empty()) return result;
  Counters::Bump(parts_.counters->demotion_batches);
  const std::vector<absl::Status> written = Write(demotions);
  parts_.store->With([&](Store& store) {
    for (size_t i = 0; i < demotions.size(); ++i) store.FinishDemotion(demotions[i].id, written[i]);
  });
  for (size_t i = 0; i < demotions.size(); ++i) {
    if (written[i].ok()) {
      ++result.written;
      result.bytes += demotions[i].payload_bytes;
    } else {
      result.disk_full |= absl::IsResourceExhausted(written[i]);
      if (result.first_error.ok()) result.first_error = written[i];
    }
  }
  if (result.disk_full) TrimIfBounded();
  if (!result.first_error.ok())
    parts_.log->Error(absl::StrCat("objects could not be written to ", options_.below),
                      {{"objects", result.taken - result.written},
                       {"of", result.taken},
                       {"error", result.first_error}});
  return result;
}

// The tier's own bound, not a disk that is full: then old records stay, and new objects live in
// memory as if there were no disk.
void Demoter::TrimIfBounded() {
  const uint64_t bound = options_.disk_max_bytes;
  if (bound == 0 || parts_.disk == nullptr) return;
  const uint64_t kept = parts_.disk->Stats().payload_bytes;
  if (kept + 2 * options_.batch_bytes < bound && kept < bound / 10 * 9) return;
  const uint64_t gone = TrimDisk(*parts_.store, std::max(bound / 10, options_.batch_bytes));
  parts_.log->Info("the disk tier is at its bound, the cheapest objects leave it",
                   {{"objects", gone}, {"bound", bound}});
  Kick();
}

std::vector<absl::Status> Demoter::Write(const std::vector<Demotion>& demotions) {
  std::vector<absl::Status> statuses(demotions.size());
  std::vector<absl::StatusOr<ObjectShape>> shapes;
  std::map<base::Key, base::ModelSpec> models;
  parts_.store->With([&](Store& store) {
    for (const Demotion& demotion : demotions) {
      shapes.push_back(ShapeOf(store, demotion.header, options_.blob_block_bytes));
      if (const base::ModelSpec* spec = store.FindModel(demotion.header.model); spec != nullptr)
        models.emplace(demotion.header.model, *spec);
    }
  });
  std::map<base::Key, absl::Status> persisted;
  for (const auto& [key, spec] : models) persisted[key] = parts_.models->Persist(spec);

  std::vector<storage::Tier::Item> items;
  std::vector<size_t> item_of;
  for (size_t i = 0; i < demotions.size(); ++i) {
    const auto model = persisted.find(demotions[i].header.model);
    statuses[i] = shapes[i].ok() && model != persisted.end() ? model->second : shapes[i].status();
    if (!statuses[i].ok()) continue;
    item_of.push_back(i);
    items.push_back({demotions[i].header,
                     AsConst(RecordSlices(parts_.arena->data(), *shapes[i], demotions[i].blocks))});
  }
  if (items.empty()) return statuses;
  const std::vector<absl::Status> written = parts_.below->Write(items);
  for (size_t j = 0; j < item_of.size(); ++j)
    statuses[item_of[j]] =
        j < written.size() ? written[j] : absl::InternalError("the tier below lost a status");
  return statuses;
}

}  // namespace cistern::cacheserver
