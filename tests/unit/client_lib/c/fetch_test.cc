// Rows through the C interface: planned, fetched layer by layer, published whole and as they come.
#include <atomic>

#include "tests/unit/client_lib/c/c_fixture.h"

namespace cistern::c {
namespace {

constexpr uint32_t kLayers = 3, kTokens = 700;

class CFetchTest : public CTest {
 protected:
  void SetUp() override {
    CTest::SetUp();
    ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", kLayers, &model_, &error_), CISTERN_OK);
    computed_.Fill(tokens_);
  }
  cistern_plan* MustPlan() {
    const cistern_prompt prompt = PromptOf(tokens_);
    cistern_plan* plan = nullptr;
    auto policy = Sized<cistern_plan_policy>();
    cistern_plan_policy_init(&policy, sizeof(policy));
    policy.compute_last_token = 0;
    policy.deadline_ms = 20000;
    EXPECT_EQ(cistern_make_plan(client_, model_, &prompt, &policy, &plan, &error_), CISTERN_OK)
        << message();
    return plan;
  }
  cistern_publish_report Publish(const cistern_result* fetched) {
    const cistern_prompt prompt = PromptOf(tokens_);
    const cistern_paged_cache cache = computed_.view();
    auto rows = Sized<cistern_rows>();
    rows.cache = &cache;
    auto report = Sized<cistern_publish_report>();
    EXPECT_EQ(
        cistern_publish(client_, model_, &prompt, fetched, {0, kTokens}, &rows, &report, &error_),
        CISTERN_OK)
        << message();
    return report;
  }

  const std::vector<uint32_t> tokens_ = SomeTokens(kTokens, 1);
  Cache computed_{kLayers, 1152, kTokens};
};

TEST_F(CFetchTest, WhatWasPublishedIsFetched) {
  const cistern_publish_report report = Publish(nullptr);
  EXPECT_GT(report.segments, 0u);
  EXPECT_EQ(report.bytes, uint64_t{kTokens} * kLayers * 1152);
  cistern_plan* plan = MustPlan();
  auto info = Sized<cistern_plan_info>();
  EXPECT_EQ(cistern_plan_get_info(plan, &info, &error_), CISTERN_OK);
  EXPECT_EQ(info.exact_tokens, kTokens);
  const size_t count = cistern_plan_spans(plan, nullptr, 0);
  std::vector<cistern_span> spans(count);
  EXPECT_EQ(cistern_plan_spans(plan, spans.data(), 1), count) << "one is written";
  EXPECT_EQ(cistern_plan_spans(plan, spans.data(), count), count);
  EXPECT_EQ(spans.front().begin, 0u);
  EXPECT_EQ(spans.back().end, kTokens);
  EXPECT_EQ(spans.front().kind, CISTERN_EXACT);

  Cache mine(kLayers, 1152, kTokens);
  const cistern_paged_cache cache = mine.view();
  std::atomic<uint32_t> layers = 0;
  auto options = Sized<cistern_fetch_options>();
  cistern_fetch_options_init(&options, sizeof(options));
  options.user = &layers;
  options.on_layer = [](void* user, uint32_t layer) {
    auto* seen = static_cast<std::atomic<uint32_t>*>(user);
    EXPECT_EQ(seen->load(), layer);
    ++*seen;
  };
  cistern_fetch* fetch = nullptr;
  ASSERT_EQ(cistern_fetch_start(client_, plan, &cache, &options, &fetch, &error_), CISTERN_OK)
      << message();
  for (uint32_t layer = 0; layer < kLayers; ++layer)
    EXPECT_EQ(cistern_fetch_wait_layer(fetch, layer, &error_), CISTERN_OK) << message();
  EXPECT_EQ(cistern_fetch_missing(fetch, nullptr, 0), 0u);
  cistern_result* result = nullptr;
  ASSERT_EQ(cistern_fetch_wait(fetch, &result, &error_), CISTERN_OK) << message();
  EXPECT_EQ(layers, kLayers);
  EXPECT_TRUE(mine == computed_);
  auto got = Sized<cistern_result_info>();
  EXPECT_EQ(cistern_result_get_info(result, &got, &error_), CISTERN_OK);
  EXPECT_EQ(got.bytes_memory, report.bytes);
  EXPECT_EQ(got.approximate_from, UINT32_MAX);
  EXPECT_EQ(cistern_result_delivered(result, nullptr, 0), count);
  EXPECT_EQ(cistern_result_missing(result, nullptr, 0), 0u);
  EXPECT_EQ(Publish(result).segments, 0u) << "it was delivered";
  auto stats = Sized<cistern_client_stats>();
  EXPECT_EQ(cistern_client_get_stats(client_, &stats, &error_), CISTERN_OK);
  EXPECT_EQ(stats.fetches, 1u);
  EXPECT_EQ(stats.publishes, 2u);
  EXPECT_EQ(stats.device_errors, 0u);
  cistern_result_free(result);
  cistern_fetch_free(fetch);
  cistern_plan_free(plan);
}

TEST_F(CFetchTest, LayerByLayer) {
  const cistern_prompt prompt = PromptOf(tokens_);
  const cistern_paged_cache cache = computed_.view();
  auto rows = Sized<cistern_rows>();
  rows.cache = &cache;
  cistern_publishing* publishing = nullptr;
  ASSERT_EQ(cistern_publish_start(client_, model_, &prompt, nullptr, {0, kTokens}, &rows,
                                  &publishing, &error_),
            CISTERN_OK)
      << message();
  auto report = Sized<cistern_publish_report>();
  EXPECT_EQ(cistern_publish_finish(publishing, &report, &error_), CISTERN_FAILED_PRECONDITION);
  for (uint32_t layer = 0; layer < kLayers; ++layer)
    EXPECT_EQ(cistern_publish_layer_done(publishing, layer, &error_), CISTERN_OK) << message();
  EXPECT_EQ(cistern_publish_finish(publishing, &report, &error_), CISTERN_OK) << message();
  EXPECT_GT(report.segments, 0u);
  cistern_publish_free(publishing);
  cistern_plan* plan = MustPlan();
  auto info = Sized<cistern_plan_info>();
  EXPECT_EQ(cistern_plan_get_info(plan, &info, &error_), CISTERN_OK);
  EXPECT_EQ(info.exact_tokens, kTokens);
  cistern_plan_free(plan);
}

TEST_F(CFetchTest, APlanIsUsedOnce) {
  Publish(nullptr);
  cistern_plan* plan = MustPlan();
  Cache mine(kLayers, 1152, kTokens);
  const cistern_paged_cache cache = mine.view();
  cistern_fetch* fetch = nullptr;
  ASSERT_EQ(cistern_fetch_start(client_, plan, &cache, nullptr, &fetch, &error_), CISTERN_OK);
  cistern_fetch_cancel(fetch);
  cistern_result* result = nullptr;
  ASSERT_EQ(cistern_fetch_wait(fetch, &result, &error_), CISTERN_OK) << message();
  cistern_result_free(result);
  cistern_fetch* second = nullptr;
  EXPECT_EQ(cistern_fetch_start(client_, plan, &cache, nullptr, &second, &error_),
            CISTERN_FAILED_PRECONDITION);
  auto info = Sized<cistern_plan_info>();
  EXPECT_EQ(cistern_plan_get_info(plan, &info, &error_), CISTERN_FAILED_PRECONDITION);
  EXPECT_EQ(cistern_plan_spans(plan, nullptr, 0), 0u);
  cistern_fetch_free(fetch);
  cistern_plan_free(plan);
}

TEST_F(CFetchTest, WrongCachesAreRefused) {
  Publish(nullptr);
  Cache mine(kLayers, 1152, kTokens);
  const auto refused = [&](const cistern_paged_cache& cache) {
    cistern_plan* plan = MustPlan();
    cistern_fetch* fetch = nullptr;
    const int32_t code = cistern_fetch_start(client_, plan, &cache, nullptr, &fetch, &error_);
    EXPECT_EQ(fetch, nullptr);
    EXPECT_GT(cistern_plan_spans(plan, nullptr, 0), 0u) << "it can be fetched again";
    cistern_plan_free(plan);
    return code;
  };
  cistern_paged_cache cache = mine.view();
  cache.memory = CISTERN_CUDA;
  cache.device = 4711;
  EXPECT_THAT(refused(cache), ::testing::AnyOf(CISTERN_UNAVAILABLE, CISTERN_UNIMPLEMENTED,
                                               CISTERN_INVALID_ARGUMENT));
  EXPECT_THAT(message(), ::testing::HasSubstr("CUDA"));
  cache.memory = 2;
  EXPECT_EQ(refused(cache), CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "destination.memory is 2, not CISTERN_HOST (0) or CISTERN_CUDA (1)");
  cache = mine.view();
  cache.memory = -1;  // the host, of callers that know ABI 1 only
  cache.struct_size = offsetof(cistern_paged_cache, device);
  cistern_plan* plan = MustPlan();
  cistern_fetch* fetch = nullptr;
  ASSERT_EQ(cistern_fetch_start(client_, plan, &cache, nullptr, &fetch, &error_), CISTERN_OK)
      << message();
  cistern_fetch_free(fetch);
  cistern_plan_free(plan);
  cache = mine.view();
  cache.layer_base = nullptr;
  EXPECT_EQ(refused(cache), CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "destination.layer_base is NULL");
  cache = mine.view();
  cache.block_table_entries -= 1;
  EXPECT_EQ(refused(cache), CISTERN_INVALID_ARGUMENT) << "too short a table";
}

TEST_F(CFetchTest, SaltsAreTenants) {
  Publish(nullptr);
  auto options = Sized<cistern_client_options>();
  cistern_client_options_init(&options, sizeof(options));
  options.name = "other";
  options.salt = "of another tenant";
  options.salt_bytes = std::strlen(options.salt);
  cistern_client* other = NewClient(&options);
  std::swap(client_, other);
  cistern_plan* plan = MustPlan();
  auto info = Sized<cistern_plan_info>();
  EXPECT_EQ(cistern_plan_get_info(plan, &info, &error_), CISTERN_OK);
  EXPECT_EQ(info.compute_tokens, kTokens);
  cistern_plan_free(plan);
  cistern_client_free(other);
}

}  // namespace
}  // namespace cistern::c
