#include "cacheserver/host_level.h"

#include <utility>

#include "cacheserver/store_options.h"

namespace cistern::cacheserver {

namespace {

storage::StoreOptions OptionsOf(const HostLevel::Parts& parts) {
  storage::StoreOptions options = HostStoreOptionsOf(*parts.config);
  options.has_disk = parts.disk != nullptr;
  options.blob_block_bytes = parts.blob_block_bytes;
  return options;
}

}  // namespace

HostLevel::HostLevel(const Parts& parts, std::unique_ptr<storage::Arena> arena)
    : parts_(parts),
      arena_(std::move(arena)),
      store_(OptionsOf(parts), arena_.get()),
      models_(parts.disk),
      tier_({.blob_block_bytes = parts.blob_block_bytes}, {.store = &store_,
                                                           .arena = arena_.get(),
                                                           .below = parts.disk,
                                                           .clock = parts.clock,
                                                           .make_room =
                                                               [this] {
                                                                 if (demoter_ != nullptr)
                                                                   demoter_->MakeRoom();
                                                               },
                                                           .look = [this] { Kick(); }}) {}

HostLevel::~HostLevel() { Stop(); }

void HostLevel::Start() {
  if (parts_.disk == nullptr) return;
  demoter_ = std::make_unique<Demoter>(
      DemoterOptions{.batch_bytes = parts_.config->demote_batch_bytes,
                     .blob_block_bytes = parts_.blob_block_bytes,
                     .eager = parts_.config->demote_eagerly,
                     .disk_max_bytes = parts_.config->disk_max_bytes},
      Demoter::Parts{&store_, arena_.get(), parts_.disk, &models_, parts_.counters, parts_.log,
                     parts_.clock, [this] { tier_.RoomCame(); }, parts_.disk});
}

void HostLevel::Stop() {
  StopWaiting();
  if (demoter_ != nullptr) demoter_->Stop();
}

void FlushTiers(Demoter& upper, Demoter* lower, absl::Time give_up,
                absl::AnyInvocable<void(FlushReport)> done) {
  if (lower == nullptr) return upper.Flush(give_up, std::move(done));
  upper.Flush(give_up, [lower, give_up, done = std::move(done)](const FlushReport& first) mutable {
    lower->Flush(give_up, [first, done = std::move(done)](FlushReport report) mutable {
      report.failures += first.failures;
      report.dirty_bytes_left += first.dirty_bytes_left;
      if (report.first_error.ok()) report.first_error = first.first_error;
      done(std::move(report));
    });
  });
}

}  // namespace cistern::cacheserver
