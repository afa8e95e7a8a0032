#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "common/chat/event.h"

namespace holdfast::upstream {

// Separates thinking that a server sends inside the content. Newlines next to the tags belong to
// neither part.
class InlineSplitter {
public:
    enum class State : std::uint8_t {
        off,       // content is content, reasoning is reasoning
        deciding,  // no text yet, or text that may become <think>
        opened,    // between <think> and the thinking's first character
        thinking,
        trimming,  // between </think> and the answer's first character
        answer,    // everything is content
    };
    explicit InlineSplitter(State state) : state_(state) {}

    void split(chat::Event& event) {
        if (state_ == State::off) return;
        if (state_ == State::answer) {
            event.content.insert(0, std::exchange(event.reasoning, {}));
            return;
        }
        // A server that names the reasoning splits by itself.
        if (!event.reasoning.empty()) {
            event.reasoning.insert(0, std::exchange(held_, {}));
            state_ = State::off;
            return;
        }
        std::string text = std::exchange(held_, {}) + std::exchange(event.content, {});
        if (state_ == State::deciding) decide(text);
        if (state_ == State::opened) trim(text, State::thinking);
        if (state_ == State::thinking) think(text, event);
        if (state_ == State::trimming) trim(text, State::off);
        if (state_ == State::off) event.content = std::move(text);
        if (event.finish) flush(event);
    }

private:
    static constexpr std::string_view open_tag = "<think>";
    static constexpr std::string_view close_tag = "</think>";

    void decide(std::string& text) {
        const std::size_t start = text.find_first_not_of(" \n\r\t");
        const std::string_view seen =
            start == std::string::npos ? std::string_view() : std::string_view(text).substr(start);
        if (seen.starts_with(open_tag)) {
            text.erase(0, start + open_tag.size());
            state_ = State::opened;
        } else if (open_tag.starts_with(seen)) {
            held_ = std::exchange(text, {});
        } else {
            state_ = State::off;
        }
    }

    // Moves the thinking to the event; `text` keeps what follows it.
    void think(std::string& text, chat::Event& event) {
        const std::size_t end = text.find(close_tag);
        if (end != std::string::npos) {
            const std::size_t last = text.find_last_not_of('\n', end == 0 ? 0 : end - 1);
            if (end > 0 && last != std::string::npos) event.reasoning = text.substr(0, last + 1);
            text.erase(0, end + close_tag.size());
            state_ = State::trimming;
            return;
        }
        const std::size_t safe = text.size() - open_end(text);
        event.reasoning = text.substr(0, safe);
        held_ = text.substr(safe);
        text.clear();
    }

    // Bytes at the end of `text` that may belong to "\n</think>".
    static std::size_t open_end(std::string_view text) {
        std::size_t tag = std::min(close_tag.size() - 1, text.size());
        while (tag > 0 && !text.ends_with(close_tag.substr(0, tag))) --tag;
        std::size_t newlines = 0;
        while (tag + newlines < text.size() && text[text.size() - 1 - tag - newlines] == '\n') {
            ++newlines;
        }
        return tag + newlines;
    }

    void trim(std::string& text, State next) {
        text.erase(0, text.find_first_not_of('\n'));
        if (!text.empty()) state_ = next;
    }

    void flush(chat::Event& event) {
        std::string& target = state_ == State::thinking ? event.reasoning : event.content;
        target += std::exchange(held_, {});
    }

    State state_;
    std::string held_;
};

}  // namespace holdfast::upstream
