// The plain connection that TCP transfers are compared with: bytes go both ways, in every form.
#include "tools/bench/transfer/raw_tcp.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

namespace cistern::tools {
namespace {

bool AllAre(const std::vector<std::byte>& bytes, int value) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

TEST(RawTcpTest, EachFormBringsAllBytes) {
  auto tcp = RawTcp::Start();
  ASSERT_TRUE(tcp.ok()) << tcp.status();
  std::vector<std::byte> bytes(300'000);
  ASSERT_TRUE((*tcp)->Fetch(bytes).ok());
  EXPECT_TRUE(AllAre(bytes, 0x5a));  // what a Ring holds
  std::vector<std::byte> sent(300'000, std::byte{1});
  ASSERT_TRUE((*tcp)->Publish(sent).ok());
  // What was published lies in one place of the other side's ring (447 pieces): once round it.
  size_t pieces = 0, published = 0;
  ASSERT_TRUE((*tcp)
                  ->StreamHere(500, bytes.size(),
                               [&] {
                                 if (pieces > 0 && AllAre(bytes, 1)) ++published;
                                 ++pieces;
                                 return std::span(bytes);
                               })
                  .ok());
  EXPECT_EQ(pieces, 500u);
  EXPECT_GE(published, 1u);
  pieces = 0;
  ASSERT_TRUE((*tcp)
                  ->StreamAway(3, sent.size(),
                               [&] {
                                 ++pieces;
                                 return std::span(sent);
                               })
                  .ok());
  EXPECT_EQ(pieces, 3u);
  ASSERT_TRUE((*tcp)->Fetch(std::span(bytes).first(1000)).ok());  // another size, the same peer
}

}  // namespace
}  // namespace cistern::tools
