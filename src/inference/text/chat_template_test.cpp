#include "inference/text/chat_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/text/golden_test.h"
#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

using chat::Message;
using chat::Role;
using testing::AllOf;
using testing::HasSubstr;

std::string replaced(std::string text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// A template that is built like the published ones of the distills.
std::string distill() {
    return R"({# Roles -#}
{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') -%}
{% for message in messages -%}
    {% if message["role"] == "system" %}{% set ns.system_prompt = message["content"] %}{% endif -%}
{% endfor -%}
{{ bos_token }}{{ ns.system_prompt }}
{%- for message in messages -%}
    {% if message['role'] == 'user' -%}
        {% set ns.is_tool = false %}{{ '<｜User｜>' + message['content'] }}
    {%- endif -%}
    {% if message['role'] == 'assistant' and message['content'] is none -%}
        {% for tool in message['tool_calls'] %}
            {%- if tool %}{{ tool['type'] }}{% endif -%}
        {% endfor -%}
    {% endif -%}
    {% if message['role'] == 'assistant' and message['content'] is not none -%}
        {% if ns.is_tool -%}
            {{ '<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>' -}}
            {% set ns.is_tool = false -%}
        {% else -%}
            {% set content = message['content'] -%}
            {% if '</think>' in content -%}
                {% set content = content.split('</think>')[-1] -%}
            {% endif -%}
            {{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' -}}
        {% endif -%}
    {% endif -%}
    {% if message['role'] == 'tool' -%}
        {% set ns.is_tool = true -%}
        {% if ns.is_output_first -%}
            {{ '<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content']
               + '<｜tool▁output▁end｜>' -}}
            {% set ns.is_output_first = false -%}
        {% else -%}
            {{ '\n<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' -}}
        {% endif -%}
    {% endif -%}
{% endfor -%}
{% if ns.is_tool %}{{ '<｜tool▁outputs▁end｜>' }}{% endif -%}
{% if add_generation_prompt and not ns.is_tool %}{{ '<｜Assistant｜><think>\n' }}{% endif %})";
}

// The same with the differences of R1's own.
std::string own() {
    std::string source =
        replaced(distill(), "system_prompt=''", "system_prompt='', is_first_sp=true");
    source =
        replaced(source, R"({% set ns.system_prompt = message["content"] %})",
                 "{% if ns.is_first_sp %}"
                 "{% set ns.system_prompt = ns.system_prompt + message['content'] %}"
                 "{% set ns.is_first_sp = false %}{% else %}"
                 "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}"
                 "{% endif %}");
    source = replaced(source, "message['content'] is none", "'tool_calls' in message");
    source = replaced(source, "message['content'] is not none", "'tool_calls' not in message");
    return replaced(source, "'\\n<｜tool▁output▁begin｜>'", "'<｜tool▁output▁begin｜>'");
}

std::string unopened(const std::string& source) { return replaced(source, "<think>\\n", ""); }

std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (const char byte : text) {
        if (byte == '"' || byte == '\\') out += '\\';
        out += byte == '\n' ? "\\n" : std::string(1, byte);
    }
    return out + "\"";
}

std::string config(const std::string& chat_template) {
    return R"({"bos_token": "<B>", "chat_template": )" + chat_template + "}";
}

base::Result<ChatTemplate> load(const std::string& tokenizer_config,
                                const std::string& jinja_file = "",
                                const std::string& choice = "") {
    const base::testing::TemporaryFolder folder;
    folder.write("tokenizer_config.json", tokenizer_config);
    if (!jinja_file.empty()) folder.write("chat_template.jinja", jinja_file);
    return ChatTemplate::load(folder.path(), choice);
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

PromptEnd end_of(std::string_view name) {
    if (name == "answer") return PromptEnd::answer;
    return name == "message" ? PromptEnd::message : PromptEnd::open_message;
}

void expect_case(const ChatTemplate& chat_template, const simdjson::dom::element& one) {
    std::vector<Message> messages;
    for (const simdjson::dom::element message : one["messages"])
        messages.push_back({role_of(message["role"]),
                            std::string(std::string_view(message["content"])), "dropped"});
    const PromptEnd end = end_of(one["end"]);
    const auto prompt = chat_template.render(messages, end);
    if (one["prompt"].is_null()) {  // it cannot be left open
        EXPECT_FALSE(prompt) << *prompt;
        return;
    }
    ASSERT_TRUE(prompt) << prompt.error().what;
    EXPECT_EQ(*prompt, std::string_view(one["prompt"]));
    if (end != PromptEnd::answer) return;
    EXPECT_EQ(chat_template.render(messages), *prompt);
    EXPECT_EQ(chat_template.opens_thinking(messages), prompt->ends_with("<think>\n"));
}

void expect_golden_prompts(const base::Result<ChatTemplate>& chat_template,
                           std::string_view format) {
    ASSERT_TRUE(chat_template) << chat_template.error().what;
    simdjson::dom::parser parser;
    const simdjson::dom::element golden = parser.load(golden_folder + "/templates.json");
    std::size_t cases = 0;
    for (const simdjson::dom::element one : golden["cases"]) {
        if (std::string_view(one["format"]) != format) continue;
        expect_case(*chat_template, one);
        ++cases;
    }
    EXPECT_GT(cases, 50U);
}

const std::string bos = R"({"bos_token": "<B>"})";
const std::string r1_bos = R"({"bos_token": {"content": "<｜begin▁of▁sentence｜>"}})";

}  // namespace

TEST(ChatTemplate, RendersWhatTransformersRenders) {
    expect_golden_prompts(load(r1_bos, distill()), "deepseek-r1-distill");
    expect_golden_prompts(load(r1_bos, unopened(distill())), "deepseek-r1-distill-no-think");
    expect_golden_prompts(load(r1_bos, own()), "deepseek-r1");
    expect_golden_prompts(load(r1_bos, unopened(own())), "deepseek-r1-no-think");
}

TEST(ChatTemplate, RendersAKnownFormatByName) {
    for (const NamedFormat& known : known_formats())
        expect_golden_prompts(load(r1_bos, "unknown", std::string(known.name)), known.name);
}

TEST(ChatTemplate, RecognisesThePublishedTemplates) {
    for (const std::string name : {"qwen", "llama"}) {
        const std::string path =
            std::string(HOLDFAST_SOURCE_DIR "/../shared/data/template-r1-") + name + ".jinja";
        if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is missing";
        expect_golden_prompts(load(r1_bos, read_file(path)), "deepseek-r1-distill");
    }
}

TEST(ChatTemplate, RecognisesTheTemplateOfTinyR1) {
    expect_golden_prompts(ChatTemplate::load(HOLDFAST_SOURCE_DIR "/models/tiny-r1"),
                          "deepseek-r1-distill");
}

TEST(ChatTemplate, ReadsTheThreePlacesWhereATemplateMayBe) {
    const std::string expected = "<B><｜User｜>Hi<｜Assistant｜><think>\n";
    EXPECT_EQ(rendered(load(config(quoted(distill())))), expected);
    EXPECT_EQ(rendered(load(config(R"([{"name": "other", "template": "x"},
                                       {"name": "default", "template": )" +
                                   quoted(distill()) + "}]"))),
              expected);
    EXPECT_EQ(rendered(load(bos, distill())), expected);
}

TEST(ChatTemplate, PrefersTheTemplateThatHasAFileOfItsOwn) {
    EXPECT_EQ(rendered(load(config("\"unknown\""), distill())),
              "<B><｜User｜>Hi<｜Assistant｜><think>\n");
}

TEST(ChatTemplate, KnowsTemplatesThatDoNotOpenTheThinking) {
    const auto older = load(config(quoted(unopened(distill()))));
    EXPECT_EQ(rendered(older), "<B><｜User｜>Hi<｜Assistant｜>");
    EXPECT_FALSE(older->opens_thinking());
    const auto no_newline = load(config(quoted(replaced(distill(), "<think>\\n", "<think>"))));
    EXPECT_EQ(rendered(no_newline), "<B><｜User｜>Hi<｜Assistant｜><think>");
    EXPECT_TRUE(no_newline->opens_thinking());
}

TEST(ChatTemplate, KnowsTemplatesThatKeepEarlierThinking) {
    const auto keeps = load(config(quoted(replaced(
        replaced(distill(), "{% if '</think>' in content -%}\n", ""),
        "{% set content = content.split('</think>')[-1] -%}\n            {% endif -%}\n", ""))));
    ASSERT_TRUE(keeps) << keeps.error().what;
    const std::vector<Message> messages{{Role::assistant, "a</think>b", ""}};
    EXPECT_EQ(*keeps->render(messages, PromptEnd::open_message), "<B><｜Assistant｜>a</think>b");
}

TEST(ChatTemplate, DoesNotStartInsideTheThinkingAfterToolOutputs) {
    const auto chat_template = load(config(quoted(distill())));
    const std::vector<Message> messages{{Role::user, "Weather?", ""}, {Role::tool, "clear", ""}};
    EXPECT_FALSE(chat_template->opens_thinking(messages));
    EXPECT_TRUE(chat_template->opens_thinking(std::span(messages).first(1)));
    EXPECT_TRUE(chat_template->opens_thinking({}));
}

TEST(ChatTemplate, RefusesTemplatesThatItCannotRender) {
    const auto reason = [](std::string_view from, std::string_view to) {
        return why_not(config(quoted(replaced(distill(), from, to))));
    };
    EXPECT_THAT(why_not(config("\"{% for m in messages %}<|im_start|>{% endfor %}\"")),
                AllOf(HasSubstr("tokenizer_config.json: chat_template: "),
                      HasSubstr("{% for m in messages %} is foreign to it"),
                      HasSubstr("known are deepseek-r1-distill, "), HasSubstr("--template NAME")));
    EXPECT_THAT(reason("'<｜User｜>' +", "'<｜User｜> ' +"), HasSubstr("{{ '<｜User｜> '+"));
    EXPECT_THAT(reason("message['content'] }}\n", "message['content'] }}!\n"),
                HasSubstr("\"!\" is foreign"));
    EXPECT_THAT(reason("<think>\\n", "<think>\\n\\n</think>"), HasSubstr("<think>\\n\\n</think>"));
    EXPECT_THAT(reason("<think>\\n' }}{% endif %}", "<think>\\n' }}"), HasSubstr("it ends early"));
    EXPECT_THAT(reason("<think>\\n' }}{% endif %}", "<think>\\n' }}{% endif %}more"),
                HasSubstr("\"more\" is foreign"));
    // What looks like code inside a string is not taken for code.
    EXPECT_THAT(reason("'<｜User｜>' + message['content']", R"("<｜User｜>'+message['content']")"),
                HasSubstr("is foreign"));
    EXPECT_THAT(why_not(bos, replaced(distill(), "<｜User｜>", "\x02")),
                HasSubstr("control character"));
    EXPECT_THAT(why_not(bos, "not a template"), AllOf(HasSubstr("chat_template.jinja"),
                                                      HasSubstr("\"not a template\" is foreign")));
}

TEST(ChatTemplate, RefusesDamagedTemplates) {
    const std::string sound = distill();
    for (std::size_t length = 1; length < sound.size(); length += 7)
        EXPECT_THAT(why_not(bos, sound.substr(0, length)),
                    HasSubstr("the chat template is unknown"));
    for (const std::string source : {"{", "{{", "{%", "{#", "{{-", "{% 'a", "{% \"\\", "{%}",
                                     "{{}}", "{#}", "{#-#}", "{%-%}", "{{-}}", "{{ -", "\n"})
        EXPECT_THAT(why_not(bos, source), HasSubstr("the chat template is unknown"));
}

TEST(ChatTemplate, SurvivesDamage) {
    const base::testing::TemporaryFolder folder;
    const auto read_as = [&](const std::string& name) {
        return [&folder, name](const std::string& content) {
            folder.write(name, content);
            auto chat_template = ChatTemplate::load(folder.path());
            rendered(chat_template);
            return chat_template;
        };
    };
    base::testing::expect_survives_damage(
        config(quoted(distill())), "tokenizer_config.json: ", read_as("tokenizer_config.json"));
    folder.write("tokenizer_config.json", bos);
    base::testing::expect_survives_damage(distill(),
                                          "chat_template.jinja: ", read_as("chat_template.jinja"));
}

TEST(ChatTemplate, NamesFileFieldAndReasonForDamagedConfigurations) {
    EXPECT_THAT(ChatTemplate::load("/nowhere").error().what,
                HasSubstr("/nowhere/tokenizer_config.json: there is no such file"));
    EXPECT_THAT(why_not("{\"bos_token\": "), HasSubstr("is not sound JSON"));
    EXPECT_THAT(why_not("[]"), HasSubstr("chat_template: is missing"));
    EXPECT_THAT(why_not("{}"), HasSubstr("chat_template: is missing"));
    EXPECT_THAT(why_not(R"({"bos_token": 7})"), HasSubstr("bos_token: is not a string"));
    EXPECT_THAT(why_not(R"({"bos_token": {"id": 7}})"), HasSubstr("bos_token.content: is missing"));
    EXPECT_THAT(why_not(bos), HasSubstr("chat_template: is missing"));
    EXPECT_THAT(why_not(config("7")), HasSubstr("chat_template: is not a string"));
    EXPECT_THAT(why_not(config("[]")), HasSubstr("none of the 0 templates"));
    EXPECT_THAT(why_not(config("[{\"name\": \"default\"}]")),
                HasSubstr("chat_template[0].template: is missing"));
}

TEST(ChatTemplate, RendersNothingForATokenThatTheModelDoesNotHave) {
    for (const char* const without : {"{}", R"({"bos_token": null})"})
        EXPECT_EQ(rendered(load(without, distill())), "<｜User｜>Hi<｜Assistant｜><think>\n");
}

namespace {

base::Result<ChatTemplate> load_format(const std::string& json) {
    const base::testing::TemporaryFolder folder;
    folder.write("format.json", json);
    folder.write("tokenizer_config.json", bos);
    return ChatTemplate::load(folder.path(), folder.path() + "/format.json");
}

std::string why_not_format(const std::string& json) {
    const auto result = load_format(json);
    return result ? "it was accepted" : result.error().what;
}

}  // namespace

TEST(ChatFormatFile, RendersWhatItDescribes) {
    const auto chatml = load_format(R"({
        "begin": "",
        "system": {"place": "each", "before": "<|im_start|>system\n", "after": "<|im_end|>\n"},
        "user": {"before": "<|im_start|>user\n", "after": "<|im_end|>\n"},
        "assistant": {"before": "<|im_start|>assistant\n", "after": "<|im_end|>\n",
                      "keeps_thinking": true},
        "generation_prompt": "<|im_start|>assistant\n<think>\n"})");
    ASSERT_TRUE(chatml) << chatml.error().what;
    const std::vector<Message> messages{{Role::user, "a", ""},
                                        {Role::assistant, "b</think>c", ""},
                                        {Role::system, "d", ""},
                                        {Role::tool, "e", ""}};
    EXPECT_EQ(chatml->render(messages),
              "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb</think>c<|im_end|>\n"
              "<|im_start|>system\nd<|im_end|>\n<|im_start|>user\ne<|im_end|>\n"
              "<|im_start|>assistant\n<think>\n");
    EXPECT_TRUE(chatml->opens_thinking());
    EXPECT_TRUE(chatml->opens_thinking(messages));  // what a tool says is the user's here
    EXPECT_EQ(*chatml->render(std::span(messages).first(3), PromptEnd::open_message),
              "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb</think>c<|im_end|>\n"
              "<|im_start|>system\nd");

    const auto plain = load_format(R"({
        "system": {"place": "joined", "before": "S:", "between": "|", "after": ";"},
        "tool": {"first": "[", "next": ",", "after": ".", "end": "]"}, "generation_prompt": "?"})");
    ASSERT_TRUE(plain) << plain.error().what;
    EXPECT_EQ(plain->render(std::vector<Message>{{Role::user, "u", ""}}), "<B>u?");
    EXPECT_EQ(plain->render(std::vector<Message>{{Role::system, "x", ""},
                                                 {Role::tool, "1", ""},
                                                 {Role::tool, "2", ""},
                                                 {Role::system, "y", ""}}),
              "<B>S:x|y;[1.,2.]");
}

TEST(ChatFormatFile, SurvivesDamage) {
    base::testing::expect_survives_damage(
        R"({"begin":"<s>","system":{"place":"joined","before":"S:","between":"|","after":";"},)"
        R"("user":{"before":"U:","after":";"},"assistant":{"before":"A:","keeps_thinking":true},)"
        R"("tool":{"first":"[","next":",","after":".","end":"]"},"generation_prompt":"?"})",
        "format.json: ", [](const std::string& json) {
            auto format = load_format(json);
            rendered(format);
            return format;
        });
}

TEST(ChatFormatFile, IsRefusedWithFieldAndReason) {
    EXPECT_THAT(why_not_format("{}"), HasSubstr("format.json: generation_prompt: is missing"));
    EXPECT_THAT(why_not_format("[]"), HasSubstr("format.json: is not an object"));
    EXPECT_THAT(why_not_format("{"), HasSubstr("is not sound JSON"));
    EXPECT_THAT(why_not_format(R"({"generation_prompt": 1})"), HasSubstr("is not a string"));
    EXPECT_THAT(why_not_format(R"({"generation_promt": ""})"),
                HasSubstr("generation_promt: is unknown; known are begin, system, user"));
    EXPECT_THAT(why_not_format(R"({"user": {"prefix": "x"}, "generation_prompt": ""})"),
                HasSubstr("user.prefix: is unknown; known are before, after"));
    EXPECT_THAT(why_not_format(R"({"user": "x", "generation_prompt": ""})"),
                HasSubstr("user: is not an object"));
    EXPECT_THAT(why_not_format(R"({"system": {"place": "first"}, "generation_prompt": ""})"),
                HasSubstr("must be \"last\", \"joined\" or \"each\", not \"first\""));
    EXPECT_THAT(load("{}", "", "/nowhere/format.json").error().what,
                HasSubstr("/nowhere/format.json: there is no such file"));
    EXPECT_THAT(load("{}", "", "deepseek-r2").error().what,
                AllOf(HasSubstr("there is no template named \"deepseek-r2\""),
                      HasSubstr("known are deepseek-r1-distill, ")));
}

}  // namespace holdfast::text
