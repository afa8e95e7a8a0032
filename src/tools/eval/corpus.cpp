#include "tools/eval/corpus.h"

#include <simdjson.h>

#include <algorithm>
#include <fstream>

namespace holdfast::eval {
namespace {

using base::Code;
using base::fail;
using simdjson::dom::element;

constexpr std::size_t line_bytes_max = std::size_t{1} << 20;
constexpr std::size_t problems_max = 100'000;
constexpr std::string_view thinking_end = "</think>";

std::optional<std::string> text_field(const element& object, std::string_view name) {
    std::string_view text;
    if (object[name].get(text) != simdjson::SUCCESS) return std::nullopt;
    return std::string(text);
}

std::optional<chat::Role> role_of(std::string_view name) {
    if (name == "system") return chat::Role::system;
    if (name == "user") return chat::Role::user;
    if (name == "assistant") return chat::Role::assistant;
    return std::nullopt;
}

// The reason why the line is no problem, or nothing.
std::optional<std::string_view> read_problem(const element& line, Problem& problem) {
    simdjson::dom::array messages, answers;
    if (line["messages"].get(messages) != simdjson::SUCCESS) return "field \"messages\" is no list";
    for (const element message : messages) {
        const auto role = role_of(text_field(message, "role").value_or(""));
        auto content = text_field(message, "content");
        if (!role || !content) return "a message needs \"role\" and \"content\"";
        problem.messages.push_back({*role, *std::move(content), {}});
    }
    if (problem.messages.empty() || problem.messages.back().role != chat::Role::user)
        return "the last message must be the user's";
    problem.category = text_field(line, "category").value_or("");
    problem.completion = text_field(line, "completion").value_or("");
    problem.value = text_field(line, "value");
    if (line["answers"].get(answers) == simdjson::SUCCESS) {
        for (const element answer : answers) {
            std::string_view text;
            if (answer.get(text) != simdjson::SUCCESS) return "\"answers\" must be texts";
            problem.answers.emplace_back(text);
        }
    }
    if (!problem.value && problem.answers.empty()) return "needs \"value\" or \"answers\"";
    return std::nullopt;
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view blank = " \t\r\n";
    const auto begin = text.find_first_not_of(blank);
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(blank) + 1 - begin);
}

// All that stands between `open` and the next `close`, in order.
std::vector<std::string_view> enclosed(std::string_view text, std::string_view open,
                                       std::string_view close) {
    std::vector<std::string_view> found;
    for (auto at = text.find(open); at != text.npos; at = text.find(open, at)) {
        at += open.size();
        const auto end = text.find(close, at);
        if (end == text.npos) break;
        found.push_back(trim(text.substr(at, end - at)));
        at = end + close.size();
    }
    return found;
}

bool is_whole_number(std::string_view text) {
    if (text.starts_with('-')) text.remove_prefix(1);
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::vector<Passage> cut_text(const text::Tokenizer& tokenizer, std::string_view text,
                              const Windows& windows) {
    const std::vector<chat::TokenId> ids = tokenizer.encode(text);
    const auto begin = tokenizer.beginning();
    std::vector<Passage> passages;
    for (std::size_t at = 0, predicted = 0; predicted < ids.size(); at += windows.stride) {
        const std::size_t end = std::min(ids.size(), at + windows.window);
        Passage passage;
        passage.tokens.assign(begin.begin(), begin.end());
        passage.scored_from = static_cast<std::uint32_t>(passage.tokens.size() + predicted - at);
        // Without a BOS nothing stands before the first token, so it cannot be predicted.
        passage.scored_from = std::max(1U, passage.scored_from);
        passage.tokens.insert(passage.tokens.end(), ids.begin() + static_cast<std::ptrdiff_t>(at),
                              ids.begin() + static_cast<std::ptrdiff_t>(end));
        predicted = end;
        if (passage.tokens.size() > passage.scored_from) passages.push_back(std::move(passage));
    }
    return passages;
}

base::Result<std::vector<Problem>> read_problems(const std::string& path) {
    std::ifstream file(path);
    if (!file) return fail(Code::not_found, "cannot read {}", path);
    std::vector<Problem> problems;
    simdjson::dom::parser parser;
    std::string line;
    for (std::size_t number = 1; std::getline(file, line); ++number) {
        if (trim(line).empty()) continue;
        element root;
        if (line.size() > line_bytes_max || problems.size() == problems_max)
            return fail(Code::invalid, "{}:{}: more than {} bytes in a line or {} problems", path,
                        number, line_bytes_max, problems_max);
        if (const auto error = parser.parse(line).get(root))
            return fail(Code::invalid, "{}:{}: not JSON: {}", path, number,
                        simdjson::error_message(error));
        if (const auto reason = read_problem(root, problems.emplace_back()))
            return fail(Code::invalid, "{}:{}: {}", path, number, *reason);
    }
    if (file.bad()) return fail(Code::unavailable, "{}: cannot be read to its end", path);
    if (problems.empty()) return fail(Code::invalid, "{}: holds no problem", path);
    return problems;
}

bool is_right(const Problem& problem, std::string_view completion) {
    const auto end = completion.find(thinking_end);
    if (end == completion.npos || trim(completion.substr(0, end)).empty()) return false;
    const std::string_view answer = completion.substr(end + thinking_end.size());
    if (answer.find(thinking_end) != answer.npos) return false;
    if (!problem.value)
        return std::ranges::find(problem.answers, trim(answer)) != problem.answers.end();
    auto shown = enclosed(answer, "\\boxed{", "}");
    if (shown.empty()) {
        shown = enclosed(answer, "**", "**");
        std::erase_if(shown, [](std::string_view text) { return !is_whole_number(text); });
    }
    return !shown.empty() && std::ranges::all_of(shown, [&](std::string_view text) {
        return text == *problem.value;
    });
}

std::vector<chat::TokenId> prompt_of(const Problem& problem, const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate& chat) {
    return tokenizer.encode(chat.render(problem.messages));
}

std::vector<Passage> passages_of(const std::vector<Problem>& problems,
                                 const text::Tokenizer& tokenizer, const text::ChatTemplate& chat,
                                 chat::TokenId end) {
    std::vector<Passage> passages;
    for (const Problem& problem : problems) {
        if (problem.completion.empty()) continue;
        Passage passage{.tokens = prompt_of(problem, tokenizer, chat)};
        passage.scored_from = static_cast<std::uint32_t>(passage.tokens.size());
        const auto completion = tokenizer.encode(problem.completion);
        passage.tokens.insert(passage.tokens.end(), completion.begin(), completion.end());
        passage.tokens.push_back(end);
        passages.push_back(std::move(passage));
    }
    return passages;
}

}  // namespace holdfast::eval
