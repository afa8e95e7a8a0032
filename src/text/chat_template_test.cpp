#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/test_folder.h"
#include "text/golden_test.h"
#include "text/tokenizer.h"

namespace holdfast::text {
namespace {

using chat::Message;
using chat::Role;
using testing::HasSubstr;

// Has the marks of the family; a template is recognised, not executed.
const std::string marks =
    "{{ bos_token }} {{ messages }} <｜User｜> '<｜Assistant｜>' <｜end▁of▁sentence｜> "
    "<｜tool▁outputs▁begin｜> <｜tool▁outputs▁end｜> <｜tool▁output▁begin｜> <｜tool▁output▁end｜> "
    "content.split('</think>') {% if add_generation_prompt %}";
const std::string opening = marks + R"({{'<｜Assistant｜><think>\n'}})";

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char byte : text) {
        if (byte == '"' || byte == '\\') out += '\\';
        out += byte;
    }
    return out + "\"";
}

std::string config(const std::string& chat_template) {
    return R"({"bos_token": "<B>", "chat_template": )" + chat_template + "}";
}

base::Result<ChatTemplate> load(const std::string& tokenizer_config,
                                const std::string& jinja_file = "") {
    const base::testing::TemporaryFolder folder;
    folder.write("tokenizer_config.json", tokenizer_config);
    if (!jinja_file.empty()) folder.write("chat_template.jinja", jinja_file);
    return ChatTemplate::load(folder.path());
}

std::string why_not(const std::string& tokenizer_config, const std::string& jinja_file = "") {
    const auto result = load(tokenizer_config, jinja_file);
    return result ? "it was accepted" : result.error().what;
}

std::string rendered(const base::Result<ChatTemplate>& chat_template) {
    const std::vector<Message> messages{{Role::user, "Hi", ""}};
    return chat_template ? chat_template->render(messages) : chat_template.error().what;
}

Role role_of(std::string_view name) {
    if (name == "system") return Role::system;
    if (name == "user") return Role::user;
    return name == "assistant" ? Role::assistant : Role::tool;
}

void expect_golden_prompts(const ChatTemplate& chat_template) {
    simdjson::dom::parser parser;
    const simdjson::dom::element golden = parser.load(golden_folder + "/template.json");
    std::size_t cases = 0;
    for (const simdjson::dom::element one : golden["cases"]) {
        std::vector<Message> messages;
        for (const simdjson::dom::element message : one["messages"])
            messages.push_back({role_of(message["role"]),
                                std::string(std::string_view(message["content"])), "dropped"});
        const std::string_view prompt = one["prompt"];
        EXPECT_EQ(chat_template.render(messages), prompt);
        EXPECT_EQ(chat_template.opens_thinking(messages), prompt.ends_with("<think>\n"));
        ++cases;
    }
    EXPECT_GT(cases, 10U);
}

}  // namespace

TEST(ChatTemplate, RendersWhatThePublishedTemplatesRender) {
    const auto chat_template =
        load(R"({"bos_token": {"content": "<｜begin▁of▁sentence｜>"}, "chat_template": )" +
             quoted(opening) + "}");
    ASSERT_TRUE(chat_template) << chat_template.error().what;
    EXPECT_TRUE(chat_template->opens_thinking());
    expect_golden_prompts(*chat_template);
}

TEST(ChatTemplate, RecognisesThePublishedTemplates) {
    for (const std::string name : {"qwen", "llama"}) {
        const std::string path =
            std::string(HOLDFAST_SOURCE_DIR "/../shared/data/template-r1-") + name + ".jinja";
        if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is missing";
        const auto chat_template =
            load(R"({"bos_token": "<｜begin▁of▁sentence｜>"})", read_file(path));
        ASSERT_TRUE(chat_template) << chat_template.error().what;
        expect_golden_prompts(*chat_template);
    }
}

TEST(ChatTemplate, RecognisesTheTemplateOfTinyR1) {
    const std::string folder = HOLDFAST_SOURCE_DIR "/models/tiny-r1";
    if (!std::filesystem::exists(folder + "/tokenizer_config.json"))
        GTEST_SKIP() << folder << " is missing";
    const auto chat_template = ChatTemplate::load(folder);
    ASSERT_TRUE(chat_template) << chat_template.error().what;
    expect_golden_prompts(*chat_template);
}

TEST(ChatTemplate, ReadsTheThreePlacesWhereATemplateMayBe) {
    const std::string expected = "<B><｜User｜>Hi<｜Assistant｜><think>\n";
    EXPECT_EQ(rendered(load(config(quoted(opening)))), expected);
    EXPECT_EQ(rendered(load(config(R"([{"name": "other", "template": "x"},
                                       {"name": "default", "template": )" +
                                   quoted(opening) + "}]"))),
              expected);
    EXPECT_EQ(rendered(load(R"({"bos_token": "<B>"})", opening)), expected);
}

TEST(ChatTemplate, PrefersTheTemplateThatHasAFileOfItsOwn) {
    EXPECT_EQ(rendered(load(config("\"unknown\""), opening)),
              "<B><｜User｜>Hi<｜Assistant｜><think>\n");
}

TEST(ChatTemplate, KnowsTemplatesThatDoNotOpenTheThinking) {
    const auto older = load(config(quoted(marks)));
    EXPECT_EQ(rendered(older), "<B><｜User｜>Hi<｜Assistant｜>");
    EXPECT_FALSE(older->opens_thinking());
    const auto no_newline = load(config(quoted(marks + "{{'<｜Assistant｜><think>'}}")));
    EXPECT_EQ(rendered(no_newline), "<B><｜User｜>Hi<｜Assistant｜><think>");
    EXPECT_TRUE(no_newline->opens_thinking());
}

TEST(ChatTemplate, DoesNotStartInsideTheThinkingAfterToolOutputs) {
    const auto chat_template = load(config(quoted(opening)));
    const std::vector<Message> messages{{Role::user, "Weather?", ""}, {Role::tool, "clear", ""}};
    EXPECT_FALSE(chat_template->opens_thinking(messages));
    EXPECT_TRUE(chat_template->opens_thinking(std::span(messages).first(1)));
    EXPECT_TRUE(chat_template->opens_thinking({}));
}

TEST(ChatTemplate, RefusesTemplatesThatItCannotRender) {
    const std::string known = "known is the family of DeepSeek-R1";
    EXPECT_THAT(why_not(config("\"{% for m in messages %}<|im_start|>{% endfor %}\"")),
                AllOf(HasSubstr("tokenizer_config.json: chat_template: "), HasSubstr(known)));
    EXPECT_THAT(why_not(config(quoted(opening + "{% if ns.is_first_sp %}"))),
                HasSubstr("is_first_sp"));
    EXPECT_THAT(why_not(config(quoted(opening + "'<think>'"))), HasSubstr("<think> stands"));
    EXPECT_THAT(why_not(config(quoted(marks + R"('<｜Assistant｜><think>\n\n</think>')"))),
                HasSubstr("<think> is followed by"));
    EXPECT_THAT(why_not(R"({"bos_token": "<B>"})", "not a template"),
                AllOf(HasSubstr("chat_template.jinja"), HasSubstr(known)));
}

TEST(ChatTemplate, NamesFileFieldAndReasonForDamagedConfigurations) {
    EXPECT_THAT(ChatTemplate::load("/nowhere").error().what,
                HasSubstr("/nowhere/tokenizer_config.json: there is no such file"));
    EXPECT_THAT(why_not("{\"bos_token\": "), HasSubstr("is not sound JSON"));
    EXPECT_THAT(why_not("[]"), HasSubstr("bos_token: is missing"));
    EXPECT_THAT(why_not("{}"), HasSubstr("bos_token: is missing"));
    EXPECT_THAT(why_not(R"({"bos_token": 7})"), HasSubstr("bos_token: is not a string"));
    EXPECT_THAT(why_not(R"({"bos_token": {"id": 7}})"), HasSubstr("bos_token.content: is missing"));
    EXPECT_THAT(why_not(R"({"bos_token": "<B>"})"), HasSubstr("chat_template: is missing"));
    EXPECT_THAT(why_not(config("7")), HasSubstr("chat_template: is not a string"));
    EXPECT_THAT(why_not(config("[]")), HasSubstr("none of the 0 templates"));
    EXPECT_THAT(why_not(config("[{\"name\": \"default\"}]")),
                HasSubstr("chat_template[0].template: is missing"));
}

}  // namespace holdfast::text
