#include "tools/cli/answer.h"

#include <fmt/format.h>
#include <simdjson.h>

#include "common/base/seconds.h"
#include "tools/cli/service.h"

namespace holdfast::cli {
namespace {

constexpr std::string_view dim = "\x1b[2m";
constexpr std::string_view plain = "\x1b[0m";
}  // namespace

Answer::Answer(AnswerStyle style, int output, const base::Clock& clock)
    : style_(style), output_(output), clock_(clock), began_(clock.now()), last_(began_) {}

base::Result<> Answer::add(std::string_view chunk) {
    simdjson::dom::parser parser;
    simdjson::dom::element root;
    if (parser.parse(chunk.data(), chunk.size()).get(root) != simdjson::SUCCESS ||
        !root.is_object())
        return base::fail(base::Code::corrupt, "the service sent something that is no answer");
    if (simdjson::dom::element error;
        root["error"].get(error) == simdjson::SUCCESS && !error.is_null())
        return base::fail(base::Code::unavailable,
                          "the answer broke off: {}\n  next: send it again",
                          error_message(0, chunk));
    std::uint64_t tokens = 0;
    if (root["usage"]["completion_tokens"].get(tokens) == simdjson::SUCCESS) tokens_ = tokens;

    simdjson::dom::element choice;
    if (root["choices"].at(0).get(choice) != simdjson::SUCCESS) return {};
    std::string_view text;
    for (const char* name : {"reasoning_content", "reasoning"}) {
        if (choice["delta"][name].get(text) != simdjson::SUCCESS) continue;
        write(Part::thinking, text);
        break;
    }
    if (choice["delta"]["content"].get(text) == simdjson::SUCCESS) write(Part::content, text);
    if (choice["finish_reason"].get(text) == simdjson::SUCCESS) finish_reason_ = text;
    return {};
}

void Answer::write(Part part, std::string_view text) {
    if (text.empty()) return;
    last_ = clock_.now();
    if (!first_) first_ = last_;
    ++pieces_;
    if (part == Part::content) {
        if (part_ == Part::thinking) leave_thinking();
        // The blank lines between thinking and answer are the style's business.
        if (content_.empty())
            text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
        content_ += text;
    } else if (style_.hide_thinking) {
        return;
    } else if (part_ != Part::thinking) {
        write_text(output_, style_.terminal ? dim : "<think>\n");
    }
    part_ = part;
    if (text.empty()) return;
    line_open_ = !text.ends_with('\n');
    write_text(output_, style_.terminal ? printable(text) : std::string(text));
}

void Answer::leave_thinking() {
    part_ = Part::none;
    if (style_.terminal) write_text(output_, plain);
    if (line_open_) write_text(output_, "\n");
    write_text(output_, style_.terminal ? "\n" : "</think>\n\n");
    line_open_ = false;
}

void Answer::end() {
    if (part_ == Part::thinking) leave_thinking();
    if (line_open_) write_text(output_, "\n");
    line_open_ = false;
}

std::string Answer::statistics() const {
    // A server that reports no usage sends about one token in a chunk.
    const std::uint64_t tokens = tokens_.value_or(pieces_);
    const double generating = first_ ? base::seconds(last_ - *first_) : 0;
    std::string text = fmt::format("{}{} tokens", tokens_ ? "" : "about ", tokens);
    if (generating > 0 && tokens > 1)
        text += fmt::format(", {:.1f} tokens/s", static_cast<double>(tokens - 1) / generating);
    if (first_) text += fmt::format(", first after {:.2f} s", base::seconds(*first_ - began_));
    text += fmt::format(", {:.2f} s in all", base::seconds(clock_.now() - began_));
    if (finish_reason_ == "length") text += ", cut off at the token limit";
    return "[" + text + "]";
}

}  // namespace holdfast::cli
