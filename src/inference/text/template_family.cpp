// Recognises the templates that DeepSeek has published for R1 and its distills, and templates that
// are known as a whole. A template is never executed: what was recognised is rendered from data.
#include <algorithm>
#include <array>

#include "common/base/hash.h"
#include "inference/text/chat_format.h"
#include "inference/text/jinja_source.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;
using Items = std::vector<std::string>;

// A template with other words for one of the known formats.
struct KnownText {
    std::uint64_t hash;  // of its items
    std::string_view format;
};
constexpr std::array known_texts{
    KnownText{0xAE708798FF1944B2, "deepseek-r1-distill"},  // models/tiny-r1
};

std::uint64_t hash_of(const Items& items) {
    std::uint64_t hash = 0;
    for (const std::string& item : items) hash = base::hash64(item, hash);
    return hash;
}

// Walks through a template that is built like all of the family: gather the system messages, write
// every message by its role, close the outputs of tools, ask for an answer. Where the published
// versions differ, the choice is noted; what is none of the choices is foreign.
class Family {
public:
    explicit Family(Items items) : items_(std::move(items)) {}

    Result<ChatFormat> match() {
        HF_TRY(systems());
        HF_TRY(user());
        skip_tool_calls();
        HF_TRY(assistant());
        HF_TRY(tool());
        HF_TRY(ending());
        if (at_ < items_.size()) return foreign();
        return std::move(format_);
    }

private:
    Result<> systems() {
        accept(
            "{% if not add_generation_prompt is defined %}"
            "{% set add_generation_prompt = false %}{% endif %}");
        if (accept("{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, "
                   "system_prompt='', is_first_sp=true) %}")) {
            format_.systems = ChatFormat::Systems::joined;
        } else {
            HF_TRY(
                expect("{% set ns = namespace(is_first=false, is_tool=false, "
                       "is_output_first=true, system_prompt='') %}"));
        }
        HF_TRY(expect("{% for message in messages %}{% if message['role'] == 'system' %}"));
        if (format_.systems == ChatFormat::Systems::joined) {
            HF_TRY(
                expect("{% if ns.is_first_sp %}"
                       "{% set ns.system_prompt = ns.system_prompt + message['content'] %}"
                       "{% set ns.is_first_sp = false %}{% else %}"
                       "{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + "
                       "message['content'] %}{% endif %}"));
        } else {
            HF_TRY(expect("{% set ns.system_prompt = message['content'] %}"));
        }
        return expect("{% endif %}{% endfor %}{{ bos_token }}{{ ns.system_prompt }}");
    }

    Result<> user() {
        HF_TRY(
            expect("{% for message in messages %}{% if message['role'] == 'user' %}"
                   "{% set ns.is_tool = false %}{{ '<｜User｜>' + message['content'] }}"
                   "{% endif %}"));
        format_.user.before = "<｜User｜>";
        return {};
    }

    // Messages with tool calls do not reach a template, so their branch may say anything.
    void skip_tool_calls() {
        const bool here = accept(
                              "{% if message['role'] == 'assistant' and message['content'] is "
                              "none %}") ||
                          accept(
                              "{% if message['role'] == 'assistant' and message['tool_calls'] "
                              "%}") ||
                          accept(
                              "{% if message['role'] == 'assistant' and 'tool_calls' in message "
                              "%}");
        for (int depth = here ? 1 : 0; depth > 0 && at_ < items_.size(); ++at_) {
            const std::string_view item = items_[at_];
            if (item.starts_with("%if ") || item.starts_with("%for ")) ++depth;
            if (item == "%endif" || item == "%endfor") --depth;
        }
    }

    Result<> assistant() {
        if (!accept("{% if message['role'] == 'assistant' and 'tool_calls' not in message %}"))
            HF_TRY(
                expect("{% if message['role'] == 'assistant' and message['content'] is not none "
                       "%}"));
        HF_TRY(
            expect("{% if ns.is_tool %}"
                   "{{ '<｜tool▁outputs▁end｜>' + message['content'] + '<｜end▁of▁sentence｜>' }}"
                   "{% set ns.is_tool = false %}{% else %}"
                   "{% set content = message['content'] %}"));
        format_.drops_thinking = accept(
            "{% if '</think>' in content %}"
            "{% set content = content.split('</think>')[-1] %}{% endif %}");
        format_.assistant = {"<｜Assistant｜>", "<｜end▁of▁sentence｜>"};
        return expect(
            "{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}"
            "{% endif %}{% endif %}");
    }

    Result<> tool() {
        HF_TRY(
            expect("{% if message['role'] == 'tool' %}{% set ns.is_tool = true %}"
                   "{% if ns.is_output_first %}"
                   "{{ '<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message['content'] + "
                   "'<｜tool▁output▁end｜>' }}{% set ns.is_output_first = false %}{% else %}"));
        const bool on_new_line = accept(
            "{{ '\\n<｜tool▁output▁begin｜>' + message['content'] + "
            "'<｜tool▁output▁end｜>' }}");
        if (!on_new_line)
            HF_TRY(
                expect("{{ '<｜tool▁output▁begin｜>' + message['content'] + "
                       "'<｜tool▁output▁end｜>' }}"));
        format_.outputs = {"<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>",
                           on_new_line ? "\n<｜tool▁output▁begin｜>" : "<｜tool▁output▁begin｜>",
                           "<｜tool▁output▁end｜>", "<｜tool▁outputs▁end｜>"};
        return expect(
            "{% endif %}{% endif %}{% endfor %}"
            "{% if ns.is_tool %}{{ '<｜tool▁outputs▁end｜>' }}{% endif %}");
    }

    Result<> ending() {
        HF_TRY(expect("{% if add_generation_prompt and not ns.is_tool %}"));
        if (accept("{{ '<｜Assistant｜><think>\\n' }}")) {
            format_.generation_prompt = "<｜Assistant｜><think>\n";
            // Thinking is enabled.
            accept("{% if not enable_thinking %}{{ '</think>' }}{% endif %}");
        } else if (accept("{{ '<｜Assistant｜><think>' }}")) {
            format_.generation_prompt = "<｜Assistant｜><think>";
        } else {
            HF_TRY(expect("{{ '<｜Assistant｜>' }}"));
            format_.generation_prompt = "<｜Assistant｜>";
        }
        return expect("{% endif %}");
    }

    // Steps over what is written in `source`, if all of it stands here.
    bool accept(std::string_view source) {
        const Items wanted = *canonical_jinja(source);
        if (items_.size() - at_ < wanted.size() ||
            !std::equal(wanted.begin(), wanted.end(), items_.begin() + static_cast<long>(at_)))
            return false;
        at_ += wanted.size();
        return true;
    }

    Result<> expect(std::string_view source) {
        const Items wanted = *canonical_jinja(source);
        for (const std::string& item : wanted) {
            if (at_ == items_.size() || items_[at_] != item) return foreign();
            ++at_;
        }
        return {};
    }

    std::unexpected<base::Error> foreign() const {
        constexpr std::size_t shown_bytes_max = 80;
        if (at_ == items_.size()) return base::fail(Code::invalid, "it ends early");
        return base::fail(Code::invalid, "{} is foreign to it",
                          show_jinja_item(items_[at_], shown_bytes_max));
    }

    Items items_;
    std::size_t at_ = 0;
    ChatFormat format_;
};

}  // namespace

Result<ChatFormat> recognise_template(std::string_view jinja_source) {
    HF_TRY_ASSIGN(Items items, canonical_jinja(jinja_source));
    const auto known = std::ranges::find(known_texts, hash_of(items), &KnownText::hash);
    if (known != known_texts.end()) return *find_format(known->format);
    return Family(std::move(items)).match();
}

}  // namespace holdfast::text
