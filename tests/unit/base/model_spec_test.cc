// A model spec travels as JSON unchanged, is refused when a field is wrong, and its fingerprint
// follows what the bytes depend on and nothing else.
#include "base/model_spec.h"

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"
#include <nlohmann/json.hpp>

namespace cistern::base {
namespace {

using Json = nlohmann::json;

ModelSpec Spec() {
  ModelSpec spec;
  spec.name = "deepseek-ai/DeepSeek-V3";
  spec.revision = "e815299b0bcbac849fa540c768ef21845365c9eb";
  spec.num_layers = 61;
  spec.rotary.scaling = RotaryScaling::kYarn;
  spec.rotary.factor = 40;
  spec.boundary_tokens = {128803, 128804, 4294967295u};
  spec.flops_per_token = std::numeric_limits<uint64_t>::max();
  spec.flops_per_token_pair = 5;
  return spec;
}

// The spec's JSON with one change.
std::string Changed(const std::function<void(Json*)>& change) {
  Json json = Json::parse(Spec().ToJson());
  change(&json);
  return json.dump();
}

TEST(ModelSpecTest, SizesOfARow) {
  ModelSpec spec = Spec();
  EXPECT_EQ(spec.token_bytes(), 70272u);
  EXPECT_EQ(spec.page_bytes(), 16 * 70272u);
  EXPECT_EQ(spec.rotary_offset(), 1024u);
  EXPECT_EQ(spec.rotary_bytes(), 128u);
  EXPECT_TRUE(spec.movable());
  spec.layout = RowLayout::kFp8DsMla656;
  spec.row_bytes = 656;
  EXPECT_EQ(spec.token_bytes(), 40016u);
  EXPECT_EQ(spec.rotary_offset(), 528u);
  spec.layout = RowLayout::kOpaque;
  spec.row_bytes = 100;
  EXPECT_EQ(spec.rotary_offset(), 100u);
  EXPECT_EQ(spec.rotary_bytes(), 0u);
  EXPECT_FALSE(spec.movable());
}

TEST(ModelSpecTest, JsonRoundTrip) {
  std::vector<ModelSpec> specs(4, Spec());
  specs[1].layout = RowLayout::kFp8DsMla656;
  specs[1].row_bytes = 656;
  specs[1].rotary.style = RotaryStyle::kHalf;
  specs[1].rotary.theta = 0.1 + 1e6;
  specs[1].name = "modèle \"quoted\" \\ 模型";
  specs[2].layout = RowLayout::kOpaque;
  specs[2].row_bytes = 12345;
  specs[2].rotary.style = RotaryStyle::kNone;
  specs[2].boundary_tokens.clear();
  specs[3].rotary.scaling = RotaryScaling::kLinear;
  specs[3].rotary.factor = 1.0 / 3;
  specs[3].revision.clear();
  for (const ModelSpec& spec : specs) {
    ASSERT_TRUE(spec.Validate().ok()) << spec.Validate();
    const absl::StatusOr<ModelSpec> back = ModelSpec::FromJson(spec.ToJson());
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, spec);
    EXPECT_EQ(back->Fingerprint(), spec.Fingerprint());
    EXPECT_EQ(back->ToJson(), spec.ToJson());
  }
}

TEST(ModelSpecTest, OptionalFieldsMayBeAbsent) {
  const std::string text = Changed([](Json* json) {
    json->erase("boundary_tokens");
    json->erase("flops_per_token");
    json->erase("flops_per_token_pair");
    (*json)["a_field_of_tomorrow"] = 1;
  });
  const absl::StatusOr<ModelSpec> spec = ModelSpec::FromJson(text);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_TRUE(spec->boundary_tokens.empty());
  EXPECT_EQ(spec->flops_per_token, 0u);
  EXPECT_EQ(spec->Fingerprint(), Spec().Fingerprint());
}

TEST(ModelSpecTest, FromJsonNamesTheFieldThatIsMissing) {
  for (const char* field : {"name", "revision", "num_layers", "layout", "row_bytes", "rotary"}) {
    EXPECT_INVALID(ModelSpec::FromJson(Changed([&](Json* json) { json->erase(field); })),
                   std::string("model spec: ") + field + " is missing");
  }
  for (const char* field :
       {"style", "dim", "theta", "scaling", "factor", "original_max_position", "beta_fast",
        "beta_slow", "mscale", "mscale_all_dim", "attention_factor"}) {
    EXPECT_INVALID(
        ModelSpec::FromJson(Changed([&](Json* json) { (*json)["rotary"].erase(field); })),
        std::string("model spec: rotary.") + field + " is missing");
  }
}

// Numbers that a careless reader would bend into range: negative, fractional, above 32 or 64 bits.
TEST(ModelSpecTest, FromJsonBendsNoNumber) {
  for (const char* field : {"num_layers", "row_bytes", "flops_per_token"}) {
    for (const Json& bad :
         {Json(-1), Json(27.0), Json("27"), Json(true), Json(1e30), Json::array({27})}) {
      EXPECT_INVALID(ModelSpec::FromJson(Changed([&](Json* json) { (*json)[field] = bad; })),
                     field);
    }
  }
  const Json above_32_bits(4294967296 + 61);
  EXPECT_INVALID(
      ModelSpec::FromJson(Changed([&](Json* json) { (*json)["num_layers"] = above_32_bits; })),
      "num_layers");
  EXPECT_INVALID(ModelSpec::FromJson(
                     Changed([&](Json* json) { (*json)["boundary_tokens"] = {above_32_bits}; })),
                 "boundary_tokens");
  EXPECT_INVALID(ModelSpec::FromJson(Changed([](Json* json) {
                   (*json)["boundary_tokens"] = {1, -2};
                 })),
                 "boundary_tokens");
  EXPECT_INVALID(
      ModelSpec::FromJson(Changed([](Json* json) { (*json)["boundary_tokens"] = "128803"; })),
      "boundary_tokens");
  EXPECT_INVALID(
      ModelSpec::FromJson(Changed([](Json* json) { (*json)["rotary"]["theta"] = "1e4"; })),
      "rotary.theta");
}

TEST(ModelSpecTest, FromJsonRefusesUnknownNames) {
  EXPECT_INVALID(ModelSpec::FromJson(Changed([](Json* json) { (*json)["layout"] = "bf16"; })),
                 "unknown row layout 'bf16'");
  EXPECT_INVALID(
      ModelSpec::FromJson(Changed([](Json* json) { (*json)["rotary"]["style"] = "gptj"; })),
      "unknown rotary style 'gptj'");
  EXPECT_INVALID(
      ModelSpec::FromJson(Changed([](Json* json) { (*json)["rotary"]["scaling"] = "dynamic"; })),
      "unknown rotary scaling 'dynamic'");
}

TEST(ModelSpecTest, FromJsonRefusesWhatIsNoObject) {
  EXPECT_INVALID(ModelSpec::FromJson(""), "not JSON");
  EXPECT_INVALID(ModelSpec::FromJson("{\"name\": "), "not JSON");
  EXPECT_INVALID(ModelSpec::FromJson("[1]"), "must be an object");
  EXPECT_INVALID(ModelSpec::FromJson("{\"rotary\": 1e999}"), "not JSON");
}

TEST(ModelSpecTest, FromJsonChecksTheValues) {
  EXPECT_INVALID(ModelSpec::FromJson(Changed([](Json* json) { (*json)["num_layers"] = 0; })),
                 "num_layers is 0");
}

TEST(ModelSpecTest, ValidateNamesTheField) {
  const std::vector<std::pair<std::string, std::function<void(ModelSpec*)>>> faults = {
      {"name is empty", [](ModelSpec* s) { s->name.clear(); }},
      {"name has 513 bytes", [](ModelSpec* s) { s->name.assign(513, 'n'); }},
      {"name must be UTF-8", [](ModelSpec* s) { s->name = "a\xff"; }},
      {"name must be UTF-8", [](ModelSpec* s) { s->name = std::string("a\0b", 3); }},
      {"name must be UTF-8", [](ModelSpec* s) { s->name = "two\nlines"; }},
      {"revision has 600 bytes", [](ModelSpec* s) { s->revision.assign(600, 'r'); }},
      {"revision must be UTF-8", [](ModelSpec* s) { s->revision = "\xc3"; }},
      {"num_layers is 0", [](ModelSpec* s) { s->num_layers = 0; }},
      {"num_layers is 1025", [](ModelSpec* s) { s->num_layers = 1025; }},
      {"4097 boundary_tokens", [](ModelSpec* s) { s->boundary_tokens.resize(4097); }},
      {"unknown row layout", [](ModelSpec* s) { s->layout = static_cast<RowLayout>(9); }},
      {"row_bytes is 656", [](ModelSpec* s) { s->row_bytes = 656; }},
      {"row_bytes is 1152", [](ModelSpec* s) { s->layout = RowLayout::kFp8DsMla656; }},
      {"row_bytes is 0",
       [](ModelSpec* s) {
         s->layout = RowLayout::kOpaque;
         s->row_bytes = 0;
       }},
      {"row_bytes is 65537",
       [](ModelSpec* s) {
         s->layout = RowLayout::kOpaque;
         s->row_bytes = 65537;
       }},
      {"rotary.dim is 32", [](ModelSpec* s) { s->rotary.dim = 32; }},
      {"rotary.theta", [](ModelSpec* s) { s->rotary.theta = std::nan(""); }},
  };
  for (const auto& [problem, break_it] : faults) {
    ModelSpec spec = Spec();
    ASSERT_TRUE(spec.Validate().ok());
    break_it(&spec);
    EXPECT_INVALID(spec.Validate(), problem);
  }
}

TEST(ModelSpecTest, FingerprintFollowsTheIdentity) {
  const std::vector<std::function<void(ModelSpec*)>> changes = {
      [](ModelSpec*) {},
      [](ModelSpec* s) { s->name += "-Base"; },
      [](ModelSpec* s) { s->revision += "0"; },
      [](ModelSpec* s) { s->num_layers = 60; },
      [](ModelSpec* s) { s->layout = RowLayout::kFp8DsMla656; },
      [](ModelSpec* s) { s->layout = RowLayout::kOpaque; },
      [](ModelSpec* s) { s->row_bytes = 656; },
      [](ModelSpec* s) { s->rotary.style = RotaryStyle::kHalf; },
      [](ModelSpec* s) { s->rotary.style = RotaryStyle::kNone; },
      [](ModelSpec* s) { s->rotary.dim = 32; },
      [](ModelSpec* s) { s->rotary.theta = 50000; },
      [](ModelSpec* s) { s->rotary.scaling = RotaryScaling::kNone; },
      [](ModelSpec* s) { s->rotary.scaling = RotaryScaling::kLinear; },
      [](ModelSpec* s) { s->rotary.factor = 32; },
      [](ModelSpec* s) { s->rotary.original_max_position = 8192; },
      [](ModelSpec* s) { s->rotary.beta_fast = 1; },
      [](ModelSpec* s) { s->rotary.beta_slow = 2; },
      [](ModelSpec* s) { s->rotary.mscale = 0.707; },
      [](ModelSpec* s) { s->rotary.mscale_all_dim = 0.707; },
      [](ModelSpec* s) { s->rotary.attention_factor = 1.5; },
      [](ModelSpec* s) { s->rotary.theta = std::nextafter(s->rotary.theta, 2e4); },
  };
  std::set<Key> fingerprints;
  for (const auto& change : changes) {
    ModelSpec spec = Spec();
    change(&spec);
    fingerprints.insert(spec.Fingerprint());
  }
  EXPECT_EQ(fingerprints.size(), changes.size());
}

TEST(ModelSpecTest, FingerprintIgnoresWhatTheBytesDoNotDependOn) {
  ModelSpec spec = Spec();
  spec.boundary_tokens.clear();
  spec.flops_per_token = 1;
  spec.flops_per_token_pair = 2;
  EXPECT_EQ(spec.Fingerprint(), Spec().Fingerprint());
}

TEST(ModelSpecTest, EqualSpecsHaveEqualFingerprints) {
  ModelSpec positive = Spec();
  ModelSpec negative = Spec();
  positive.rotary.mscale_all_dim = 0.0;
  negative.rotary.mscale_all_dim = -0.0;
  EXPECT_EQ(positive, negative);
  EXPECT_EQ(positive.Fingerprint(), negative.Fingerprint());
}

// Stored and remote keys hang on this number: when it changes, every cache is cold.
TEST(ModelSpecTest, GoldenFingerprint) {
  EXPECT_EQ(Spec().Fingerprint().ToHex(), "ae4edfc8324d8eb6fd129dcdb1b03821");
}

TEST(ModelSpecTest, LayoutNames) {
  for (const RowLayout layout :
       {RowLayout::kBf16_576, RowLayout::kFp8DsMla656, RowLayout::kOpaque}) {
    EXPECT_EQ(ParseRowLayout(ToString(layout)).value(), layout);
  }
  EXPECT_EQ(RowBytes(RowLayout::kBf16_576), 1152u);
  EXPECT_EQ(RowBytes(RowLayout::kFp8DsMla656), 656u);
  EXPECT_EQ(RowBytes(RowLayout::kOpaque), 0u);
  EXPECT_EQ(ToString(static_cast<RowLayout>(7)), "unknown");
  EXPECT_INVALID(ParseRowLayout("unknown"), "unknown row layout");
}

TEST(ModelSpecTest, StateIsPartOfTheIdentity) {
  ModelSpec plain;
  plain.name = "hybrid";
  plain.num_layers = 12;
  ModelSpec hybrid = plain;
  hybrid.state = {StateFamily::kGatedDelta, 36, 32, 16, 128, 128, 3, 8192};
  EXPECT_EQ(plain.ToJson().find("\"state\""), std::string::npos);
  const auto read = ModelSpec::FromJson(hybrid.ToJson());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, hybrid);
  EXPECT_NE(hybrid.Fingerprint(), plain.Fingerprint());
  ModelSpec other = hybrid;
  other.state.temporal_type = StateType::kBf16;
  EXPECT_NE(other.Fingerprint(), hybrid.Fingerprint());
}

TEST(ModelSpecTest, AStateThatCannotBeIsRefused) {
  ModelSpec spec;
  spec.name = "hybrid";
  spec.num_layers = 12;
  spec.state = {StateFamily::kGatedDelta, 36, 32, 5, 128, 128, 3, 8192};
  EXPECT_INVALID(spec.Validate(), "state.num_key_heads is 5");
  EXPECT_INVALID(ModelSpec::FromJson(spec.ToJson()).status(), "state.num_key_heads is 5");
}

}  // namespace
}  // namespace cistern::base
