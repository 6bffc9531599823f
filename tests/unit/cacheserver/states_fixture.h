// A node of a small hybrid model (tests/unit/storage/state_fixture.h), and a prompt of three
// chunks.
#pragma once

#include <vector>

#include "storage/object_shape.h"
#include "tests/unit/cacheserver/service_fixture.h"
#include "tests/unit/storage/state_fixture.h"

namespace cistern::cacheserver {

class StatesTest : public ServiceTest {
 protected:
  void SetUp() override {
    Make({.pool_bytes = 4096 * kPageBytes});
    node().model_.name = "test/hybrid";
    node().model_.state = storage::TestState();
    node().Register();
    a_ = node().Segment(1);
    b_ = node().Segment(2, 20, &a_);
    c_ = node().Segment(3, 16, &b_);
  }
  const base::ModelSpec& spec() { return node().model_; }
  uint32_t LayersOf(const base::ObjectHeader& header) {
    return storage::ShapeOf(header, &spec(), kPageBytes)->layers;
  }
  std::vector<std::byte> BytesOf(const base::ObjectHeader& header) {
    std::vector<std::byte> bytes(header.PayloadBytes(&spec()));
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>(header.content.lo + i * 31);
    return bytes;
  }
  // In one call; how many became visible.
  uint32_t Publish(const std::vector<base::ObjectHeader>& headers) {
    uint32_t committed = 0;
    for (const base::ObjectHeader& header : headers) {
      FakeCallOptions options = node().Options();
      options.payload = BytesOf(header);
      committed += node()
                       .Send(transport::ReserveRequest{.headers = {header},
                                                       .payload_headers = 1,
                                                       .layer_end = LayersOf(header),
                                                       .commit = true},
                             options)
                       ->WaitFor<transport::ReserveReply>()
                       .committed;
    }
    return committed;
  }
  transport::FindReply Find(const std::vector<base::ObjectHeader>& chunks, bool lease = false) {
    transport::FindRequest request;
    request.model = spec().Fingerprint();
    request.start_context = base::KeySpace(request.model, "").ContextSeed();
    request.lease = lease;
    request.states = true;
    for (const base::ObjectHeader& chunk : chunks)
      request.items.push_back({chunk.content, chunk.context, false});
    return node().Send(request)->WaitFor<transport::FindReply>();
  }
  std::vector<base::ObjectHeader> States(const std::vector<base::ObjectHeader>& chunks) {
    const transport::FindReply reply = Find(chunks);
    std::vector<base::ObjectHeader> states;
    for (const uint32_t index : reply.states)
      states.push_back(reply.HeaderOf(reply.objects.at(index)));
    return states;
  }

  base::ObjectHeader a_, b_, c_;  // a prompt's chunks
};

}  // namespace cistern::cacheserver
