#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "common/chat/event.h"
#include "common/chat/reasoning.h"

namespace holdfast::upstream {

// Separates thinking that a server sends inside the content, by the rules of
// chat::ReasoningSplitter. One per choice.
class InlineSplitter {
public:
    enum class State : std::uint8_t {
        off,       // content is content, reasoning is reasoning
        deciding,  // an answer that may begin with <think>
        thinking,  // goes on within thinking
        answer,    // everything is content
    };
    explicit InlineSplitter(State state)
        : state_(state),
          splitter_(state == State::thinking ? chat::ReasoningSplitter::Start::within_thinking
                                             : chat::ReasoningSplitter::Start::answer) {}

    void split(chat::Event& event) {
        if (state_ == State::off) return;
        if (state_ == State::answer) {
            event.content.insert(0, std::exchange(event.reasoning, {}));
            return;
        }
        // A server that names the reasoning splits by itself.
        if (!event.reasoning.empty()) {
            const chat::ReasoningSplitter::Parts held = splitter_.flush();
            event.reasoning.insert(0, held.reasoning + held.content);
            state_ = State::off;
            return;
        }
        chat::ReasoningSplitter::Parts parts = splitter_.feed(event.content);
        event.reasoning = std::move(parts.reasoning);
        event.content = std::move(parts.content);
        if (event.finish) {
            parts = splitter_.flush();
            event.reasoning += parts.reasoning;
            event.content += parts.content;
        }
        if (splitter_.settled()) state_ = State::off;
    }

private:
    State state_;
    chat::ReasoningSplitter splitter_;
};

}  // namespace holdfast::upstream
