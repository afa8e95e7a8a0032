#include "tools/cli/chat.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <utility>
#include <vector>

#include "tools/cli/answer.h"
#include "tools/cli/service.h"

namespace holdfast::cli {
namespace {

using base::Code;

constexpr std::size_t prompt_bytes_max = 8 * 1024 * 1024;

constexpr std::string_view help_text =
    "  /clear        forget the conversation\n"
    "  /system TEXT  set the system message (without TEXT: remove it) and forget the conversation\n"
    "  /bye          leave (or press Ctrl-D)\n"
    "  \"\"\"           begin and end a message of several lines\n"
    "  Ctrl-C        stop the answer\n";

// A JSON string. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : printable(text)) {
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\t':
                out += "\\t";
                break;
            default:
                out += c;
        }
    }
    return out + "\"";
}

struct Message {
    std::string_view role;
    std::string content;
};

std::string_view trim(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r\n");
    if (begin == text.npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

class Conversation {
public:
    Conversation(const ChatOptions& options, Service& service, Interrupt& interrupt,
                 Streams streams, const base::Clock& clock)
        : options_(options),
          service_(service),
          interrupt_(interrupt),
          streams_(streams),
          clock_(clock),
          system_(options.system),
          model_(options.model) {}

    // Asks the service for its first model where none was named.
    base::Result<> choose_model() {
        if (!model_.empty()) return {};
        HF_TRY_ASSIGN(const auto body, service_.get("/v1/models"));
        simdjson::dom::parser parser;
        simdjson::dom::element root;
        std::string_view id;
        if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS ||
            root["data"].at(0)["id"].get(id) != simdjson::SUCCESS)
            return base::fail(
                Code::unavailable,
                "the service on {} offers no model yet\n  next: wait until an instance is "
                "ready; `holdfast status` shows their state",
                service_.url().text());
        model_ = id;
        return {};
    }

    // One question and its answer. The question is forgotten if nothing came of it.
    base::Result<> ask(std::string question) {
        messages_.push_back({"user", std::move(question)});
        const AnswerStyle style{is_terminal(streams_.output), options_.hide_thinking};
        Answer answer(style, streams_.output, clock_);
        const auto add = [&answer](std::string_view chunk) { return answer.add(chunk); };
        auto ended = service_.stream("/v1/chat/completions", request_body(), interrupt_, add);
        answer.end();
        const bool is_kept =
            ended || (ended.error().code == Code::cancelled && !answer.content().empty());
        if (is_kept) {
            messages_.push_back({"assistant", answer.content()});
        } else {
            messages_.pop_back();
        }
        if (ended) note(answer.statistics());
        return ended;
    }

    // A conversation until the person leaves.
    int talk() {
        write_text(streams_.error,
                   fmt::format("Talking to {}. /? shows the commands.\n", printable(model_)));
        LineReader reader(streams_.input, interrupt_);
        while (true) {
            write_text(streams_.error, ">>> ");
            auto line = reader.read();
            if (line.end == LineReader::End::input) break;
            if (line.end == LineReader::End::interrupt) {
                note("\nUse /bye or Ctrl-D to leave.");
                continue;
            }
            if (!complete(line, reader)) continue;
            const auto text = trim(line.text);
            if (text == "/bye" || text == "/exit" || text == "/quit") return 0;
            if (text.empty() || command(text)) continue;
            const auto ended = ask(std::string(text));
            if (ended) continue;
            if (ended.error().code == Code::cancelled) {
                note("[stopped]");
            } else {
                write_text(streams_.error, fmt::format("error: {}\n", ended.error().what));
            }
        }
        write_text(streams_.error, "\n");
        return 0;
    }

private:
    std::string request_body() const {
        std::string messages;
        const auto add = [&messages](std::string_view role, std::string_view content) {
            messages += fmt::format("{}{{\"role\":\"{}\",\"content\":{}}}",
                                    messages.empty() ? "" : ",", role, json_string(content));
        };
        if (!system_.empty()) add("system", system_);
        for (const Message& message : messages_) add(message.role, message.content);
        std::string body = fmt::format(
            "{{\"model\":{},\"messages\":[{}],\"stream\":true,"
            "\"stream_options\":{{\"include_usage\":true}}",
            json_string(model_), messages);
        if (options_.temperature) body += fmt::format(",\"temperature\":{}", *options_.temperature);
        if (options_.seed) body += fmt::format(",\"seed\":{}", *options_.seed);
        if (options_.max_tokens) body += fmt::format(",\"max_tokens\":{}", *options_.max_tokens);
        return body + "}";
    }

    // Reads on until the closing """ of a message of several lines. False if it was given up.
    bool complete(LineReader::Line& line, LineReader& reader) const {
        constexpr std::string_view fence = "\"\"\"";
        const auto begin = trim(line.text);
        if (!begin.starts_with(fence)) return true;
        std::string text(begin.substr(fence.size()));
        while (text.find(fence) == text.npos) {
            write_text(streams_.error, "... ");
            const auto more = reader.read();
            if (more.end != LineReader::End::none) {
                note("");
                return false;
            }
            text += '\n' + more.text;
        }
        line.text = text.substr(0, text.find(fence));
        return true;
    }

    // True if `text` was a command.
    bool command(std::string_view text) {
        if (!text.starts_with('/')) return false;
        const auto space = text.find(' ');
        const auto word = text.substr(0, space);
        if (word == "/clear") {
            messages_.clear();
            note("The conversation is forgotten.");
        } else if (word == "/system") {
            system_ = space == text.npos ? std::string_view() : trim(text.substr(space));
            messages_.clear();
            note(system_.empty() ? "No system message; the conversation is forgotten."
                                 : "The system message is set; the conversation is forgotten.");
        } else if (word == "/?" || word == "/help") {
            write_text(streams_.error, help_text);
        } else if (word.substr(1).find('/') != word.npos) {
            return false;  // a path: meant for the model
        } else {
            note(
                fmt::format("There is no command {}; /? shows those that exist.", printable(word)));
        }
        return true;
    }

    void note(std::string_view text) const {
        const bool dimmed = is_terminal(streams_.error) && text.starts_with('[');
        write_text(streams_.error,
                   fmt::format("{}{}{}\n", dimmed ? "\x1b[2m" : "", text, dimmed ? "\x1b[0m" : ""));
    }

    const ChatOptions& options_;
    Service& service_;
    Interrupt& interrupt_;
    Streams streams_;
    const base::Clock& clock_;
    std::string system_, model_;
    std::vector<Message> messages_;
};

int complain(int fd, const base::Error& error) {
    write_text(fd, fmt::format("holdfast: {}\n", error.what));
    return error.code == Code::cancelled ? interrupted_exit : 1;
}

// The question of a call that is not a conversation: the argument, else what is piped in.
base::Result<std::optional<std::string>> find_question(const ChatOptions& options,
                                                       Streams streams) {
    if (!options.prompt && is_terminal(streams.input)) return std::nullopt;
    auto text = options.prompt ? options.prompt : read_everything(streams.input, prompt_bytes_max);
    if (!text)
        return base::fail(Code::invalid, "the input is larger than {} bytes", prompt_bytes_max);
    if (trim(*text).empty())
        return base::fail(
            Code::invalid,
            "there is no question\n  next: give it as an argument or on standard input, or "
            "start `holdfast chat` in a terminal");
    return text;
}

}  // namespace

int run_chat(const ChatOptions& options, Streams streams, const base::Clock& clock) {
    const auto url = http::Url::parse_service(options.url);
    if (!url)
        return complain(streams.error, base::Error{Code::invalid, "--url: " + url.error().what});
    const auto question = find_question(options, streams);
    if (!question) return complain(streams.error, question.error());
    Interrupt interrupt;
    Service service(*url, options.api_key, clock);
    Conversation conversation(options, service, interrupt, streams, clock);
    if (const auto chosen = conversation.choose_model(); !chosen)
        return complain(streams.error, chosen.error());
    if (!*question) return conversation.talk();
    const auto ended = conversation.ask(**question);
    return ended ? 0 : complain(streams.error, ended.error());
}

}  // namespace holdfast::cli
