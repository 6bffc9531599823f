// Foreign JSON is bounded before it is parsed, and a field is what it should be or an error.
#include "base/json_fields.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "tests/unit/base/test_status.h"

namespace cistern::base {
namespace {

std::string Nested(int depth) {
  return absl::StrCat("{\"a\":", std::string(static_cast<size_t>(depth - 1), '['),
                      std::string(static_cast<size_t>(depth - 1), ']'), "}");
}

TEST(JsonFieldsTest, DepthIsBounded) {
  EXPECT_TRUE(ParseJsonObject(Nested(kMaxJsonDepth), "text").ok());
  EXPECT_INVALID(ParseJsonObject(Nested(kMaxJsonDepth + 1), "text"), "more than 64 levels deep");
  EXPECT_INVALID(ParseJsonObject(std::string(1000000, '['), "text"), "levels deep");
}

TEST(JsonFieldsTest, BracketsInsideStringsAreText) {
  const std::string text = absl::StrCat(R"({"a": "\"\\)", std::string(1000, '['), R"(", "b": 1})");
  const absl::StatusOr<Json> json = ParseJsonObject(text, "text");
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(JsonObject(&*json, "").Uint("b", 9).value(), 1u);
}

TEST(JsonFieldsTest, SizeIsBounded) {
  const std::string padding(kMaxJsonBytes - 2, ' ');
  EXPECT_TRUE(ParseJsonObject(absl::StrCat("{", padding, "}"), "text").ok());
  EXPECT_INVALID(ParseJsonObject(absl::StrCat("{ ", padding, "}"), "text"), "at most 4194304");
}

TEST(JsonFieldsTest, ErrorsSayWhatWasRead) {
  EXPECT_INVALID(ParseJsonObject("{", "model config"), "model config: not JSON: parse error");
  EXPECT_INVALID(ParseJsonObject("nul", "model config"), "model config: not JSON");
  EXPECT_INVALID(ParseJsonObject("{} {}", "model config"), "model config: not JSON");
  EXPECT_INVALID(ParseJsonObject("null", "model config"), "a JSON null");
  EXPECT_INVALID(ParseJsonObject("{\"a\": \"\xff\"}", "model config"), "not JSON");
}

class JsonObjectTest : public testing::Test {
 protected:
  const Json json_ = Json::parse(R"({
    "zero": 0, "large": 18446744073709551615, "negative": -1, "real": 2.5, "text": "x",
    "yes": true, "nothing": null, "inner": {"a": 1}, "list": [1, 2], "mixed": [1, "x"],
    "words": ["a", "b"]})");
  const JsonObject object_{&json_, "file: "};
};

TEST_F(JsonObjectTest, Reads) {
  EXPECT_EQ(object_.Uint("zero", 0).value(), 0u);
  EXPECT_EQ(object_.Uint("large", ~uint64_t{0}).value(), ~uint64_t{0});
  EXPECT_EQ(object_.UintOr("absent", 9, 7).value(), 7u);
  EXPECT_EQ(object_.Number("negative").value(), -1.0);
  EXPECT_EQ(object_.Number("real").value(), 2.5);
  EXPECT_EQ(object_.NumberOr("nothing", 3.5).value(), 3.5);
  EXPECT_TRUE(object_.BoolOr("yes", false).value());
  EXPECT_TRUE(object_.BoolOr("absent", true).value());
  EXPECT_EQ(object_.String("text").value(), "x");
  EXPECT_EQ(object_.Object("inner")->Uint("a", 1).value(), 1u);
  EXPECT_EQ(object_.UintsOr("list", 2, 2).value(), (std::vector<uint32_t>{1, 2}));
  EXPECT_TRUE(object_.UintsOr("absent", 2, 2)->empty());
  EXPECT_EQ(object_.StringsOr("words", 2).value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(object_.StringsOr("absent", 2)->empty());
  EXPECT_TRUE(object_.Has("zero"));
  EXPECT_FALSE(object_.Has("nothing"));
  EXPECT_TRUE(object_.IsObject("inner"));
  EXPECT_FALSE(object_.IsObject("list"));
  EXPECT_FALSE(object_.IsObject("absent"));
}

TEST_F(JsonObjectTest, NamesTheFieldThatIsWrong) {
  EXPECT_INVALID(object_.Uint("absent", 1), "file: absent is missing");
  EXPECT_INVALID(object_.Uint("nothing", 1), "file: nothing is missing");
  EXPECT_INVALID(object_.Uint("negative", 1), "file: negative must be a whole number from 0 to 1");
  EXPECT_INVALID(object_.Uint("large", 1), "file: large must be");
  EXPECT_INVALID(object_.Uint("real", 9), "file: real must be");
  EXPECT_INVALID(object_.UintOr("text", 9, 1), "file: text must be");
  EXPECT_INVALID(object_.Number("text"), "file: text must be a number");
  EXPECT_INVALID(object_.NumberOr("yes", 1), "file: yes must be a number");
  EXPECT_INVALID(object_.BoolOr("zero", true), "file: zero must be true or false");
  EXPECT_INVALID(object_.String("zero"), "file: zero must be a string");
  EXPECT_INVALID(object_.Object("list"), "file: list must be an object");
  EXPECT_INVALID(object_.Object("inner")->Uint("b", 1), "file: inner.b is missing");
  EXPECT_INVALID(object_.UintsOr("inner", 9, 9), "file: inner must be a list");
  EXPECT_INVALID(object_.UintsOr("list", 1, 9), "file: list must be a list of at most 1");
  EXPECT_INVALID(object_.UintsOr("list", 2, 1), "file: list must hold whole numbers from 0 to 1");
  EXPECT_INVALID(object_.UintsOr("mixed", 2, 9), "file: mixed must hold");
  EXPECT_INVALID(object_.StringsOr("inner", 9), "file: inner must be a list");
  EXPECT_INVALID(object_.StringsOr("words", 1), "file: words must be a list of at most 1 strings");
  EXPECT_INVALID(object_.StringsOr("list", 2), "file: list must hold strings");
}

}  // namespace
}  // namespace cistern::base
