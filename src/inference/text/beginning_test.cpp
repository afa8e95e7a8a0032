#include "inference/text/beginning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "common/base/test_folder.h"
#include "inference/text/golden_test.h"
#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

using testing::HasSubstr;

// A small sound file with this post-processor. Ids: 601 <｜begin▁of▁sentence｜>, 602 <｜User｜>.
std::string tokenizer_json(const std::string& post_processor) {
    constexpr std::string_view none = "\"post_processor\":null";
    std::string text = read_file(golden_folder + "/qwen2/tokenizer.json");
    const std::size_t at = text.find(none);
    EXPECT_NE(at, std::string::npos);
    return text.replace(at, none.size(), "\"post_processor\":" + post_processor);
}

constexpr const char* bos = "<｜begin▁of▁sentence｜>";
constexpr TokenId bos_id = 601, user_id = 602;

std::string before_text(const std::string& token, const std::string& ids) {
    return fmt::format(
        R"({{"type":"TemplateProcessing","single":[{{"SpecialToken":{{"id":"{0}",)"
        R"("type_id":0}}}},{{"Sequence":{{"id":"A","type_id":0}}}},)"
        R"({{"SpecialToken":{{"id":"<｜end▁of▁sentence｜>","type_id":0}}}}],"special_tokens":)"
        R"({{"{0}":{{"id":"{0}","ids":{1},"tokens":["{0}"]}}}}}})",
        token, ids);
}

base::Result<std::shared_ptr<const Tokenizer>> load(const std::string& post_processor,
                                                    const std::string& config = "") {
    const base::testing::TemporaryFolder folder;
    folder.write("tokenizer.json", tokenizer_json(post_processor));
    if (!config.empty()) folder.write("tokenizer_config.json", config);
    return load_tokenizer(folder.path(), 1'024);
}

// What comes before a text.
std::vector<TokenId> before(const std::string& post_processor, const std::string& config = "") {
    const auto tokenizer = load(post_processor, config);
    EXPECT_TRUE(tokenizer) << tokenizer.error().what;
    const auto text = (*tokenizer)->encode("Hello");
    auto ids = text;
    (*tokenizer)->begin(ids);
    EXPECT_TRUE(std::equal(text.rbegin(), text.rend(), ids.rbegin()));
    ids.resize(ids.size() - text.size());
    return ids;
}

std::string why_not(const std::string& post_processor, const std::string& config = "") {
    const auto tokenizer = load(post_processor, config);
    return tokenizer ? "it was accepted" : tokenizer.error().what;
}

using Ids = std::vector<TokenId>;

TEST(Beginning, IsWhatTheTemplateOfThePostProcessorWritesBeforeAText) {
    EXPECT_EQ(before("null"), Ids());
    EXPECT_EQ(before(R"({"type":"ByteLevel"})"), Ids());
    EXPECT_EQ(before(before_text(bos, "[601]")), Ids{bos_id});
    EXPECT_EQ(before(before_text(bos, "[601,602]")), (Ids{bos_id, user_id}));
    EXPECT_EQ(before(R"({"type":"Sequence","processors":[{"type":"ByteLevel"},)" +
                     before_text("<｜User｜>", "[602]") + "]}"),
              Ids{user_id});
}

TEST(Beginning, IsTheConfigurationsTokenWhereThatSaysWhetherThereIsOne) {
    const std::string by_template = before_text(bos, "[601]");
    EXPECT_EQ(before(by_template, R"({"add_bos_token":false,"bos_token":"<｜User｜>"})"), Ids());
    EXPECT_EQ(before(by_template, R"({"bos_token":"<｜User｜>"})"), Ids{bos_id});
    EXPECT_EQ(before("null", R"({"add_bos_token":true,"bos_token":{"content":"<｜User｜>"}})"),
              Ids{user_id});
    EXPECT_EQ(before("null", R"({"add_bos_token":true,"bos_token":null})"), Ids());
    EXPECT_EQ(before("null", R"({"add_bos_token":null,"bos_token":"<｜User｜>"})"), Ids());
}

TEST(Beginning, IsNotWrittenTwice) {
    const auto tokenizer = load(before_text(bos, "[601]"));
    ASSERT_TRUE(tokenizer) << tokenizer.error().what;
    Ids ids = (*tokenizer)->encode(std::string(bos) + "Hello");
    const Ids whole = ids;
    (*tokenizer)->begin(ids);
    EXPECT_EQ(ids, whole);
    ids.clear();
    (*tokenizer)->begin(ids);
    EXPECT_EQ(ids, Ids{bos_id});
}

TEST(Beginning, OfDamagedFilesIsRefusedWithFileFieldAndReason) {
    EXPECT_THAT(why_not(R"({"type":"BertProcessing"})"),
                HasSubstr("tokenizer.json: post_processor: post-processor \"BertProcessing\""));
    EXPECT_THAT(why_not(before_text(bos, "[1023]")), HasSubstr("1023 is the id of no token"));
    EXPECT_THAT(why_not(before_text(bos, "[-1]")), HasSubstr("-1 is the id of no token"));
    EXPECT_THAT(why_not(before_text("<｜User｜>", "7")),
                HasSubstr("special_tokens.<｜User｜>.ids"));
    EXPECT_THAT(why_not(R"({"type":"TemplateProcessing"})"),
                HasSubstr("post_processor.single: is missing"));
    EXPECT_THAT(why_not("null", R"({"add_bos_token":"yes"})"),
                HasSubstr("tokenizer_config.json: add_bos_token"));
    EXPECT_THAT(why_not("null", R"({"add_bos_token":true,"bos_token":"<X>"})"),
                HasSubstr("tokenizer_config.json: bos_token: \"<X>\" is no token"));
    EXPECT_THAT(why_not("null", "{"), HasSubstr("tokenizer_config.json"));
}

}  // namespace
}  // namespace holdfast::text
