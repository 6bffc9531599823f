// What every call of the C interface promises: versions of structs, NULL, errors with text.
#include <array>

#include "tests/unit/client_lib/c/c_fixture.h"

namespace cistern::c {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class CStructsTest : public CTest {};

TEST_F(CStructsTest, Versions) {
  EXPECT_EQ(cistern_abi_version(), uint32_t{CISTERN_ABI_VERSION});
  EXPECT_THAT(std::string(cistern_version()), ::testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+"));
  EXPECT_STREQ(cistern_code_name(CISTERN_UNAVAILABLE), "UNAVAILABLE");
  EXPECT_STREQ(cistern_code_name(12345), "UNKNOWN");
}

TEST_F(CStructsTest, DefaultsAreTheLibrarys) {
  cistern_plan_policy policy;
  cistern_plan_policy_init(&policy, sizeof(policy));
  EXPECT_EQ(policy.struct_size, sizeof(policy));
  EXPECT_EQ(policy.reuse, CISTERN_REUSE_EXACT);
  EXPECT_EQ(policy.sink_tokens, 32u);
  EXPECT_EQ(policy.deadline_ms, 500u);
  cistern_client_options options;
  cistern_client_options_init(&options, sizeof(options));
  EXPECT_EQ(options.call_deadline_ms, 5000u);
  EXPECT_EQ(options.want_mapping, 1);
  cistern_fetch_options fetch;
  cistern_fetch_options_init(&fetch, sizeof(fetch));
  EXPECT_EQ(fetch.deadline_ms, 30000u);
}

// A caller that was compiled against an older header: what it does not know has its default, and is
// not written to.
TEST_F(CStructsTest, ASmallerStructIsAnOlderOne) {
  struct Old {
    size_t struct_size;
    int32_t reuse;
    uint32_t recompute_head;
    uint64_t canary;
  };
  Old old{};
  old.canary = 42;
  constexpr size_t kOldBytes = offsetof(Old, canary);
  cistern_plan_policy_init(reinterpret_cast<cistern_plan_policy*>(&old), kOldBytes);
  EXPECT_EQ(old.struct_size, kOldBytes);
  EXPECT_EQ(old.reuse, CISTERN_REUSE_EXACT);
  EXPECT_EQ(old.canary, 42u);

  ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", 2, &model_, &error_), CISTERN_OK);
  const auto tokens = SomeTokens(100, 1);
  const cistern_prompt prompt = PromptOf(tokens);
  cistern_plan* plan = nullptr;
  EXPECT_EQ(cistern_make_plan(client_, model_, &prompt,
                              reinterpret_cast<cistern_plan_policy*>(&old), &plan, &error_),
            CISTERN_OK)
      << message();
  struct OldInfo {
    size_t struct_size;
    uint64_t exact_tokens, lossless_tokens, content_tokens, compute_tokens;
    uint64_t canary;
  };
  OldInfo info{.struct_size = offsetof(OldInfo, canary), .canary = 42};
  EXPECT_EQ(cistern_plan_get_info(plan, reinterpret_cast<cistern_plan_info*>(&info), &error_),
            CISTERN_OK);
  EXPECT_EQ(info.compute_tokens, 100u);
  EXPECT_EQ(info.canary, 42u);
  cistern_plan_free(plan);
}

TEST_F(CStructsTest, ALargerStructIsANewerOne) {
  struct New {
    cistern_plan_policy policy;
    uint64_t later;
  };
  New newer{};
  cistern_plan_policy_init(&newer.policy, sizeof(newer));
  EXPECT_EQ(newer.policy.struct_size, sizeof(newer));
  ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", 2, &model_, &error_), CISTERN_OK);
  const auto tokens = SomeTokens(100, 1);
  const cistern_prompt prompt = PromptOf(tokens);
  cistern_plan* plan = nullptr;
  EXPECT_EQ(cistern_make_plan(client_, model_, &prompt, &newer.policy, &plan, &error_), CISTERN_OK)
      << "it says nothing new: " << message();
  cistern_plan_free(plan);
  newer.later = 1;
  EXPECT_EQ(cistern_make_plan(client_, model_, &prompt, &newer.policy, &plan, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_THAT(message(), HasSubstr("older than the header"));
}

TEST_F(CStructsTest, AStructWithoutItsSizeIsRefused) {
  cistern_client_stats stats{};
  EXPECT_EQ(cistern_client_get_stats(client_, &stats, &error_), CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "stats.struct_size is not set");
  cistern_prompt prompt{};
  cistern_plan* plan = nullptr;
  ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", 2, &model_, &error_), CISTERN_OK);
  EXPECT_EQ(cistern_make_plan(client_, model_, &prompt, nullptr, &plan, &error_),
            CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(message(), "prompt.struct_size is not set");
}

TEST_F(CStructsTest, NullIsNamed) {
  const auto named = [&](int32_t code) {
    EXPECT_EQ(code, CISTERN_INVALID_ARGUMENT);
    return message();
  };
  cistern_client* client = nullptr;
  cistern_plan* plan = nullptr;
  cistern_fetch* fetch = nullptr;
  cistern_result* result = nullptr;
  ASSERT_EQ(cistern_model_preset("deepseek-v2-lite", 2, &model_, &error_), CISTERN_OK);
  EXPECT_EQ(named(cistern_connect(nullptr, nullptr, &client, &error_)), "address is NULL");
  EXPECT_EQ(named(cistern_connect("unix:x", nullptr, nullptr, &error_)), "client is NULL");
  EXPECT_EQ(named(cistern_make_plan(nullptr, model_, nullptr, nullptr, &plan, &error_)),
            "client is NULL");
  EXPECT_EQ(named(cistern_make_plan(client_, model_, nullptr, nullptr, &plan, &error_)),
            "prompt is NULL");
  EXPECT_EQ(named(cistern_fetch_start(client_, nullptr, nullptr, nullptr, &fetch, &error_)),
            "plan is NULL");
  EXPECT_EQ(named(cistern_fetch_wait(nullptr, &result, &error_)), "fetch is NULL");
  auto prompt = Sized<cistern_prompt>();
  prompt.num_tokens = 3;
  EXPECT_EQ(named(cistern_make_plan(client_, model_, &prompt, nullptr, &plan, &error_)),
            "prompt.tokens is NULL");
  EXPECT_EQ(cistern_blobs_find(client_, nullptr, 3, 1000, nullptr, nullptr),
            CISTERN_INVALID_ARGUMENT)
      << "without an error, too";
  for (auto free : {+[] { cistern_client_free(nullptr); }, +[] { cistern_node_free(nullptr); },
                    +[] { cistern_model_free(nullptr); }, +[] { cistern_plan_free(nullptr); },
                    +[] { cistern_fetch_free(nullptr); }, +[] { cistern_result_free(nullptr); },
                    +[] { cistern_publish_free(nullptr); }, +[] { cistern_fetch_cancel(nullptr); },
                    +[] { cistern_blob_view_free(nullptr); }}) {
    free();
  }
  EXPECT_EQ(cistern_plan_spans(nullptr, nullptr, 0) + cistern_fetch_missing(nullptr, nullptr, 0) +
                cistern_result_delivered(nullptr, nullptr, 0),
            0u);
}

TEST_F(CStructsTest, ErrorsHaveTextThatFits) {
  EXPECT_EQ(cistern_model_preset("no such model", 0, &model_, &error_), CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(error_.code, CISTERN_INVALID_ARGUMENT);
  EXPECT_THAT(message(), HasSubstr("no such model"));
  const std::string unknown(2000, 'x');
  EXPECT_NE(cistern_model_preset(unknown.c_str(), 0, &model_, &error_), CISTERN_OK);
  EXPECT_EQ(message().size(), sizeof(error_.message) - 1) << "cut";
  EXPECT_EQ(model_, nullptr) << "nothing is written";
  cistern_client* client = nullptr;
  auto options = Sized<cistern_client_options>();
  cistern_client_options_init(&options, sizeof(options));
  options.connect_timeout_ms = 100;
  EXPECT_EQ(cistern_connect("unix:/nonexistent/node.sock", &options, &client, &error_),
            CISTERN_UNAVAILABLE);
  EXPECT_THAT(message(), HasSubstr("/nonexistent/node.sock"));
  options.arithmetic = 9;
  EXPECT_EQ(cistern_node_connect(node_, &options, &client, &error_), CISTERN_INVALID_ARGUMENT);
  cistern_node* node = nullptr;
  EXPECT_EQ(cistern_node_start("{\"pool_bites\": 1}", &node, &error_), CISTERN_INVALID_ARGUMENT)
      << message();
  EXPECT_THAT(message(), HasSubstr("pool_bytes")) << "the nearest one";
}

TEST_F(CStructsTest, ModelsFromTextAndBack) {
  ASSERT_EQ(cistern_model_preset("qwen3-next", 0, &model_, &error_), CISTERN_OK) << message();
  const size_t bytes = cistern_model_to_json(model_, nullptr, 0);
  std::vector<char> json(bytes + 1, 'x');
  EXPECT_EQ(cistern_model_to_json(model_, json.data(), json.size()), bytes);
  EXPECT_EQ(json[bytes], '\0');
  std::array<char, 8> cut{};
  EXPECT_EQ(cistern_model_to_json(model_, cut.data(), cut.size()), bytes);
  EXPECT_EQ(std::string(cut.data(), cut.size()), std::string(json.data(), cut.size()));
  cistern_model* again = nullptr;
  ASSERT_EQ(cistern_model_from_json(json.data(), bytes, &again, &error_), CISTERN_OK) << message();
  auto info = Sized<cistern_model_info>(), info_again = Sized<cistern_model_info>();
  EXPECT_EQ(cistern_model_get_info(model_, &info, &error_), CISTERN_OK);
  EXPECT_EQ(cistern_model_get_info(again, &info_again, &error_), CISTERN_OK);
  EXPECT_EQ(std::memcmp(&info, &info_again, sizeof(info)), 0);
  EXPECT_EQ(info.state_layers, 36u);
  EXPECT_EQ(info.temporal_bytes, 2097152u);
  cistern_model_free(again);

  const std::string config = R"({"architectures": ["DeepseekV2ForCausalLM"], "num_hidden_layers": 3,
      "kv_lora_rank": 512, "qk_rope_head_dim": 64, "rope_theta": 10000,
      "max_position_embeddings": 4096})";
  ASSERT_EQ(cistern_model_from_config(config.data(), config.size(), "mine", "1", CISTERN_BF16_576,
                                      &again, &error_),
            CISTERN_OK)
      << message();
  EXPECT_EQ(cistern_model_get_info(again, &info, &error_), CISTERN_OK);
  EXPECT_EQ(info.num_layers, 3u);
  EXPECT_EQ(info.row_bytes, 1152u);
  EXPECT_EQ(info.rotary_bytes, 128u);
  cistern_model_free(again);
  EXPECT_EQ(
      cistern_model_from_config(config.data(), config.size(), "mine", "1", 7, &again, &error_),
      CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(cistern_model_from_json("{}", 2, &again, &error_), CISTERN_INVALID_ARGUMENT);
  EXPECT_EQ(cistern_model_preset("qwen3-next", 1000, &again, &error_), CISTERN_INVALID_ARGUMENT);
  EXPECT_THAT(message(), StartsWith("qwen3-next has "));
}

}  // namespace
}  // namespace cistern::c
