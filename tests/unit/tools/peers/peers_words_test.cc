// Lists on the command line, and how many operations a round has.
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "tools/bench/peers/peers_run.h"

namespace cistern::tools {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PeersWordsTest, ListsKeepTheirOrderAndNameEachOnce) {
  EXPECT_THAT(*ParsePeers("memcached, redis,memcached"),
              ElementsAre(PeerKind::kMemcached, PeerKind::kRedis));
  EXPECT_THAT(*ParseOver("tcp,unix"), ElementsAre(true, false));
  EXPECT_THAT(*ParseConnections("8,1,8"), ElementsAre(8, 1));
}

TEST(PeersWordsTest, WhatIsWrongIsNamed) {
  EXPECT_THAT(ParsePeers("redis,etcd").status().message(),
              HasSubstr("--peers 'etcd'; there are: redis, memcached"));
  EXPECT_THAT(ParsePeers(" ").status().message(), HasSubstr("--peers names none"));
  EXPECT_THAT(ParseOver("rdma").status().message(), HasSubstr("--over 'rdma'; there are: unix"));
  EXPECT_THAT(ParseOver("").status().message(), HasSubstr("--over names none"));
  for (const char* wrong : {"0", "65", "-1", "few", "1.5"})
    EXPECT_THAT(ParseConnections(wrong).status().message(), HasSubstr("from 1 to 64")) << wrong;
  EXPECT_THAT(ParseConnections(",").status().message(), HasSubstr("--connections names none"));
}

TEST(PeersWordsTest, ARoundHas64MiBAtMost64OperationsAndAtLeastOne) {
  EXPECT_EQ(PeerOperations(4096, 1), 64u);
  EXPECT_EQ(PeerOperations(4096, 8), 64u);
  EXPECT_EQ(PeerOperations(1 << 20, 1), 64u);
  EXPECT_EQ(PeerOperations(1 << 20, 8), 8u);
  EXPECT_EQ(PeerOperations(16 << 20, 1), 4u);
  EXPECT_EQ(PeerOperations(64 << 20, 8), 1u);
}

}  // namespace
}  // namespace cistern::tools
