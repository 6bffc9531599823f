// The example of client_lib/README.md, as a process: with a node, and without one.
#include <array>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "base/model_presets.h"
#include "tests/unit/client_lib/served_node.h"
#include "tests/unit/transport/test_socket.h"

namespace cistern {
namespace {

using ::testing::HasSubstr;

struct Ended {
  int status = -1;
  std::string output;
};

Ended RunExample(const std::string& address) {
  Ended ended;
  FILE* pipe = popen((std::string(CLIENT_EXAMPLE) + " " + address + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 256> part;
  while (fgets(part.data(), part.size(), pipe) != nullptr) ended.output += part.data();
  ended.status = pclose(pipe);
  return ended;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ExampleTest, TheSecondTurnComputesTheLastTokenOnly) {
  auto model = base::ModelPreset("deepseek-v2-lite");
  ASSERT_TRUE(model.ok()) << model.status();
  auto node = std::make_shared<testing::FakeNode>(
      testing::FakeNodeOptions{.model = base::WithLayers(*std::move(model), 4), .mapped = false});
  const transport::SocketPath socket;
  testing::ServedNode served(node, socket.path());
  served.Start();
  const Ended ended = RunExample(served.address());
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("first turn: computed 1000 of 1000 tokens"));
  EXPECT_THAT(ended.output, HasSubstr("second turn: computed 1 of 1000 tokens"));
}

TEST(ExampleTest, WithoutANodeAllIsComputed) {
  const transport::SocketPath socket;
  const Ended ended = RunExample("unix:" + socket.path());
  EXPECT_EQ(ended.status, 0) << ended.output;
  EXPECT_THAT(ended.output, HasSubstr("no cache: UNAVAILABLE"));
  EXPECT_THAT(ended.output, HasSubstr("second turn: computed 1000 of 1000 tokens"));
}

TEST(ExampleTest, TheReadmeShowsIt) {
  const std::string folder = CLIENT_LIB_FOLDER;
  EXPECT_THAT(ReadFile(folder + "/README.md"),
              HasSubstr("```cpp\n" + ReadFile(folder + "/example.cc") + "```\n"));
}

}  // namespace
}  // namespace cistern
