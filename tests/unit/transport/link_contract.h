// What every carrier promises, as tests that run over each of them.
//
// To try another carrier: INSTANTIATE_TEST_SUITE_P(Name, LinkContract,
// testing::Values(Carrier{...})) in a file of its own, in the same binary as link_contract_test.cc.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <string>

#include "gtest/gtest.h"

#include "tests/unit/transport/test_service.h"
#include "transport/link.h"
#include "transport/service.h"

namespace cistern::transport {

// A running node.
class TestNode {
 public:
  virtual ~TestNode() = default;
  virtual Server& server() = 0;
  virtual absl::StatusOr<std::unique_ptr<Link>> Connect(const LinkOptions& options) = 0;
};

struct Carrier {
  std::string name;
  // The test sets the bounds in `options`; the carrier adds its address.
  std::function<std::unique_ptr<TestNode>(ServerOptions options, Service* service)> start;
};
inline std::ostream& operator<<(std::ostream& out, const Carrier& carrier) {
  return out << carrier.name;
}

class LinkContract : public testing::TestWithParam<Carrier> {
 protected:
  void Start(const ServerOptions& options = {}) { node_ = GetParam().start(options, &service_); }
  std::unique_ptr<Link> Connect(const LinkOptions& options = {}) {
    auto link = node_->Connect(options);
    EXPECT_TRUE(link.ok()) << link.status();
    return link.ok() ? *std::move(link) : nullptr;
  }

  TestService service_;
  std::unique_ptr<TestNode> node_;
};

}  // namespace cistern::transport
