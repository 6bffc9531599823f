// Options that no client can have.
#include <functional>

#include "tests/unit/client_lib/client_fixture.h"

namespace cistern {
namespace {

using testing::FakeNode;
using ::testing::HasSubstr;
using testing::SmallModel;

TEST(ClientOptionsTest, AreRefusedByTheirNames) {
  const auto node = std::make_shared<FakeNode>(testing::FakeNodeOptions{.model = SmallModel()});
  struct Case {
    const char* says;
    std::function<void(ClientOptions*)> spoil;
  };
  const std::vector<Case> cases = {
      {"connect_timeout must be", [](auto* o) { o->connect_timeout = absl::ZeroDuration(); }},
      {"call_deadline must be", [](auto* o) { o->call_deadline = -absl::Seconds(1); }},
      {"reconnect_backoff must be", [](auto* o) { o->reconnect_backoff = absl::ZeroDuration(); }},
      {"publish_deadline must be", [](auto* o) { o->publish_deadline = absl::ZeroDuration(); }},
      {"max_staging_bytes is below", [](auto* o) { o->max_staging_bytes = (1 << 20) - 1; }},
      {"fetch_threads is 1025, more than 1024", [](auto* o) { o->fetch_threads = 1025; }},
  };
  for (const Case& one : cases) {
    ClientOptions options;
    one.spoil(&options);
    const auto over = Client::Over(node->Connect(), options);
    EXPECT_TRUE(absl::IsInvalidArgument(over.status())) << one.says;
    EXPECT_THAT(over.status().message(), HasSubstr(one.says));
    options.address = "unix:/nobody";
    EXPECT_EQ(Client::Connect(options).status(), over.status()) << "before anybody is asked";
  }
}

}  // namespace
}  // namespace cistern
