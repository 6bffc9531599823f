// A node whose device memory lies over host memory, over a disk or over nothing.
#pragma once

#include <utility>

#include "nlohmann/json.hpp"
#include "tests/unit/cacheserver/service_fixture.h"

namespace cistern::cacheserver {

class TiersTest : public ServiceTest {
 protected:
  void Make(uint64_t device_pages, uint64_t host_pages, bool disk = true) {
    WorldOptions options;
    options.pool_bytes = device_pages * kPageBytes;
    options.host_bytes = host_pages * kPageBytes;
    options.disk = disk;
    ServiceTest::Make(options);
  }
  nlohmann::json Ask(transport::AdminRequest request) {
    return nlohmann::json::parse(
        node().Send(std::move(request))->WaitFor<transport::AdminReply>().json);
  }
  nlohmann::json Flush() { return Ask({.verb = transport::AdminVerb::kFlush}); }
  storage::StoreStats HostStats() {
    return node().host_->store().With([](storage::Store& store) { return store.Stats(); });
  }
  bool InHost(const base::ObjectHeader& header) {
    return node().host_->tier().InMemory({header.content, header.context});
  }
  uint64_t PinnedInHost() {
    uint64_t count = 0;
    node().host_->store().With([&](storage::Store& store) {
      store.List({.all = true}, 0, 100,
                 [&](const storage::ObjectView&, bool pinned, uint32_t, double) {
                   count += pinned ? 1 : 0;
                 });
    });
    return count;
  }
  // What may go leaves the host's memory.
  void EmptyHost() {
    node().host_->store().With([&](storage::Store& store) {
      const auto all = ServiceWorld::Blob(998, node().host_->arena().slab_bytes_total());
      const auto reservation = store.Reserve(77, all, absl::UnixEpoch());
      ASSERT_EQ(reservation->outcome, storage::Reservation::Outcome::kReserved);
      store.CloseSession(77);
    });
  }
};

}  // namespace cistern::cacheserver
