// Blobs through the C interface.
#include "tests/unit/client_lib/c/c_fixture.h"

namespace cistern::c {
namespace {

using ::testing::ElementsAre;

class CBlobsTest : public CTest {
 protected:
  static cistern_name Name(const char* text) { return {text, std::strlen(text)}; }
};

TEST_F(CBlobsTest, PutFindGetViewPin) {
  std::vector<unsigned char> small(1000, 7), large(200000);
  std::iota(large.begin(), large.end(), static_cast<unsigned char>(0));
  const std::vector<cistern_blob_source> sources = {{Name("small"), small.data(), small.size()},
                                                    {Name("large"), large.data(), large.size()},
                                                    {Name("small"), small.data(), small.size()}};
  std::vector<int32_t> outcomes(3, -1);
  ASSERT_EQ(cistern_blobs_put(client_, sources.data(), 3, 20000, outcomes.data(), &error_),
            CISTERN_OK)
      << message();
  EXPECT_THAT(outcomes, ElementsAre(CISTERN_PUT_STORED, CISTERN_PUT_STORED, CISTERN_PUT_HAD));

  const std::vector<cistern_name> names = {Name("large"), Name("unknown"), Name("small")};
  std::vector<uint64_t> sizes(3);
  ASSERT_EQ(cistern_blobs_find(client_, names.data(), 3, 20000, sizes.data(), &error_), CISTERN_OK);
  EXPECT_THAT(sizes, ElementsAre(200000, 0, 1000));

  std::vector<unsigned char> got_small(1000), got_large(200000), wrong(10);
  const std::vector<cistern_blob_target> targets = {
      {Name("small"), got_small.data(), 1000},
      {Name("unknown"), wrong.data(), 10},
      {Name("large"), wrong.data(), 10},
      {Name("large"), got_large.data(), 200000},
  };
  outcomes.assign(4, -1);
  ASSERT_EQ(cistern_blobs_get(client_, targets.data(), 4, 20000, outcomes.data(), &error_),
            CISTERN_OK)
      << message();
  EXPECT_THAT(outcomes, ElementsAre(CISTERN_GET_FILLED, CISTERN_GET_MISSING, CISTERN_GET_OTHER_SIZE,
                                    CISTERN_GET_FILLED));
  EXPECT_EQ(got_small, small);
  EXPECT_EQ(got_large, large);

  uint64_t stored = 0;
  EXPECT_EQ(cistern_blobs_pin(client_, names.data(), 3, 1, 20000, &stored, &error_), CISTERN_OK);
  EXPECT_EQ(stored, 2u);

  std::vector<cistern_blob_view*> views(3, nullptr);
  ASSERT_EQ(cistern_blobs_view(client_, names.data(), 3, 20000, views.data(), &error_), CISTERN_OK)
      << message();
  EXPECT_EQ(views[1], nullptr);
  EXPECT_EQ(cistern_blob_view_bytes(views[0]), 200000u);
  std::vector<cistern_run> runs(cistern_blob_view_runs(views[0], nullptr, 0));
  cistern_blob_view_runs(views[0], runs.data(), runs.size());
  std::vector<unsigned char> read;
  for (const cistern_run& run : runs) {
    const auto* data = static_cast<const unsigned char*>(run.data);
    read.insert(read.end(), data, data + run.bytes);
  }
  EXPECT_EQ(cistern_blob_view_still_there(views[0]), 1);
  EXPECT_EQ(read, large);
  for (cistern_blob_view* view : views) cistern_blob_view_free(view);
}

TEST_F(CBlobsTest, WrongCallsAreNamed) {
  const cistern_blob_source empty = {Name("empty"), nullptr, 0};
  int32_t outcome = -1;
  EXPECT_EQ(cistern_blobs_put(client_, &empty, 1, 1000, &outcome, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_THAT(message(), ::testing::HasSubstr("a blob of 0 bytes"));
  EXPECT_EQ(outcome, -1) << "nothing is written";
  const cistern_blob_target target = {Name("empty"), nullptr, 10};
  EXPECT_EQ(cistern_blobs_get(client_, &target, 1, 1000, &outcome, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "blobs[0].memory is NULL");
  const cistern_blob_source nameless = {{nullptr, 3}, "abc", 3};
  EXPECT_EQ(cistern_blobs_put(client_, &nameless, 1, 1000, &outcome, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "blobs[0].name.data is NULL");
  cistern_node_free(std::exchange(node_, nullptr));
  uint64_t size = 0;
  const cistern_name name = Name("any");
  EXPECT_EQ(cistern_blobs_find(client_, &name, 1, 1000, &size, &error_), CISTERN_UNAVAILABLE);
}

}  // namespace
}  // namespace cistern::c
