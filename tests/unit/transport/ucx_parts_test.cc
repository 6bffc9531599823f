// The small parts of transport/ucx that need no connection.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "transport/ucx/ucx_address.h"
#include "transport/ucx/ucx_buffers.h"
#include "transport/ucx/ucx_context.h"
#include "transport/ucx/ucx_door.h"
#include "transport/ucx/ucx_frame.h"
#include "transport/ucx/ucx_status.h"
#include "transport/ucx/ucx_way.h"

namespace cistern::transport {
namespace {

TEST(UcxAddressTest, WhatIsReadIsWrittenTheSame) {
  for (const char* text : {"127.0.0.1:4711", "10.0.0.2:1", "[fd00::2]:65535"}) {
    auto addresses = ResolveHostPort(text, false);
    ASSERT_TRUE(addresses.ok()) << addresses.status();
    EXPECT_EQ(FormatSocketAddress(addresses->front().storage), text);
  }
}

TEST(UcxAddressTest, MalformedOnesAreRefused) {
  for (const char* text : {"", "host", "host:", ":1", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:x",
                           "::1:5", "[::1:5", "1.2.3.4:0", "[::1]:5", "[fe80::1]:5"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ResolveHostPort(text, false).status())) << text;
  }
}

TEST(UcxAddressTest, AnyHostAndAnyPortAreForListening) {
  for (const char* text : {":0", "*:0"}) {
    auto addresses = ResolveHostPort(text, true);
    ASSERT_TRUE(addresses.ok()) << addresses.status();
    EXPECT_EQ(FormatSocketAddress(addresses->front().storage), "0.0.0.0:0");
  }
}

TEST(UcxAddressTest, PortsAreSetInBothFamilies) {
  for (const char* text : {"127.0.0.1:1", "[fd00::2]:1"}) {
    SocketAddress address = ResolveHostPort(text, false)->front();
    SetPort(address, 4711);
    EXPECT_EQ(GetPort(address.storage), 4711);
  }
}

// Whoever sets it wants another way than UCX's report says, and must not be given the usual one.
TEST(UcxWayTest, AnUnknownWayOfPayloadsIsRefused) {
  ASSERT_EQ(getenv("CISTERN_UCX_PAYLOADS"), nullptr);
  for (const char* way : {"", "Pieces", "rendezvous "}) {
    setenv("CISTERN_UCX_PAYLOADS", way, 1);
    const absl::Status status = UcxContext::Create(AF_INET).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(status.message(), testing::HasSubstr("CISTERN_UCX_PAYLOADS"));
  }
  for (const char* way : {"pieces", "rendezvous"}) {
    setenv("CISTERN_UCX_PAYLOADS", way, 1);
    EXPECT_TRUE(CheckUcxPayloads().ok()) << way;
  }
  unsetenv("CISTERN_UCX_PAYLOADS");
  EXPECT_TRUE(CheckUcxPayloads().ok());
}

TEST(UcxStatusTest, CodesSayWhatTheCallerCanDo) {
  EXPECT_TRUE(UcxStatus(UCS_OK, "x").ok());
  EXPECT_TRUE(absl::IsUnavailable(UcxStatus(UCS_ERR_ENDPOINT_TIMEOUT, "x")));
  EXPECT_TRUE(absl::IsUnavailable(UcxStatus(UCS_ERR_CONNECTION_RESET, "x")));
  EXPECT_TRUE(absl::IsUnavailable(UcxStatus(UCS_ERR_CANCELED, "x")));
  EXPECT_TRUE(absl::IsResourceExhausted(UcxStatus(UCS_ERR_NO_MEMORY, "x")));
  EXPECT_TRUE(absl::IsInvalidArgument(UcxStatus(UCS_ERR_INVALID_PARAM, "x")));
  EXPECT_TRUE(absl::IsInternal(UcxStatus(UCS_ERR_SHMEM_SEGMENT, "x")));
  EXPECT_THAT(std::string(UcxStatus(UCS_ERR_NO_MEMORY, "moving bytes").message()),
              ::testing::StartsWith("moving bytes: "));
}

std::string SettingOf(absl::string_view name, sa_family_t family = AF_INET) {
  for (const UcxSetting& setting : UcxSettings(family)) {
    if (name == setting.name) return setting.value;
  }
  return "";
}

TEST(UcxSettingsTest, WhatTheEnvironmentNamesStaysTheEnvironments) {
  for (const char* variable : {"UCX_TCP_TX_SEG_SIZE", "UCX_TCP_RX_SEG_SIZE"}) unsetenv(variable);
  EXPECT_EQ(SettingOf("TX_SEG_SIZE"), "256k");
  EXPECT_EQ(SettingOf("RX_SEG_SIZE"), "256k");
  setenv("UCX_TCP_TX_SEG_SIZE", "16k", 1);
  EXPECT_EQ(SettingOf("TX_SEG_SIZE"), "");
  EXPECT_EQ(SettingOf("RX_SEG_SIZE"), "256k");
  unsetenv("UCX_TCP_TX_SEG_SIZE");
}

TEST(UcxSettingsTest, SocketBuffersAreSetWhereTheSystemAllowsThem) {
  for (const auto& [name, limit] : {std::pair("SNDBUF", "/proc/sys/net/core/wmem_max"),
                                    std::pair("RCVBUF", "/proc/sys/net/core/rmem_max")}) {
    uint64_t allowed = 0;
    std::ifstream(limit) >> allowed;
    EXPECT_EQ(SettingOf(name), allowed >= (1 << 20) ? "1m" : "") << allowed;
  }
}

TEST(UcxSettingsTest, TheAddresssFamilyComesFirst) {
  EXPECT_EQ(SettingOf("AF_PRIO", AF_INET), "inet,inet6");
  EXPECT_EQ(SettingOf("AF_PRIO", AF_INET6), "inet6,inet");
}

TEST(UcxBufferPoolTest, ClassesHoldWhatIsAskedAndWasteAFifth) {
  uint64_t last = 0;
  for (uint64_t bytes = 1; bytes < (uint64_t{1} << 36); bytes += bytes / 7 + 1) {
    const uint64_t size = UcxBufferPool::ClassBytes(bytes);
    EXPECT_GE(size, bytes);
    EXPECT_GE(size, last);
    EXPECT_EQ(UcxBufferPool::ClassBytes(size), size);
    EXPECT_EQ(size % 4096, 0u);
    if (bytes > (64 << 10)) {
      EXPECT_LE(size - bytes, size / 5 + 1);
    }
    last = size;
  }
}

// The bytes of README.md's "On the wire".
TEST(UcxDoorTest, KnockAndAnswerAreTheseBytes) {
  const Knock knock = MakeKnock();
  EXPECT_EQ(memcmp(&knock, "cistern\n\1\0\0\0\0\0\0\0", sizeof(knock)), 0);
  EXPECT_TRUE(IsKnock(knock));
  const Answer answer = MakeAnswer(0x1234);
  EXPECT_EQ(memcmp(&answer, "cistern\n\1\0\0\0\x34\x12\0\0", sizeof(answer)), 0);
}

TEST(UcxDoorTest, FullAndCannotAreToldApart) {
  EXPECT_EQ(AnswerFor(absl::StatusOr<uint16_t>(4711)).port, 4711u);
  EXPECT_EQ(AnswerFor(absl::ResourceExhaustedError("descriptors")).port, 0u);
  EXPECT_EQ(AnswerFor(absl::InternalError("no device")).port, 65536u + 13);
}

TEST(UcxFrameTest, HeadersAreTheseBytes) {
  const LongHeader header = {
      .tag = 0x0102030405060708, .payload_bytes = 9, .way = PayloadWay::kPulled};
  EXPECT_EQ(memcmp(&header, "\x08\7\6\5\4\3\2\1\x09\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", sizeof(header)),
            0);
  const PieceHeader piece = {.tag = 1, .offset = 0x3fe00, .checksum = 2};
  EXPECT_EQ(memcmp(&piece, "\1\0\0\0\0\0\0\0\0\xfe\3\0\0\0\0\0\2\0\0\0\0\0\0\0", sizeof(piece)), 0);
}

}  // namespace
}  // namespace cistern::transport
