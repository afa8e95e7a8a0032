#include "common/upstream/reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/upstream/chunk.h"
#include "common/upstream/inline_splitter.h"
#include "common/upstream/limits.h"
#include "common/upstream/sse.h"

namespace holdfast::upstream {
namespace {

using base::Result;

InlineSplitter::State first_state(const Peer& peer, const Delivered& delivered) {
    using State = InlineSplitter::State;
    if (peer.kind->extended) return State::off;
    if (!delivered.content.empty()) return State::answer;
    if (delivered.server_splits) return State::off;
    return delivered.reasoning.empty() ? State::deciding : State::thinking;
}

// The most text that a choice can come to.
std::size_t text_bytes_max(const chat::Generation& asked) {
    if (!asked.stopping.max_tokens || asked.echo) return answer_bytes_max;
    return std::min(answer_bytes_max, std::size_t{*asked.stopping.max_tokens} * token_bytes_max);
}

}  // namespace

class Reader::Impl {
public:
    Impl(const Peer& peer, const chat::Generation& asked, const Delivered& delivered)
        : parser_(event_bytes_max),
          rules_{peer.kind->extended, asked.logprobs.has_value()},
          tokens_max_(asked.stopping.max_tokens.value_or(count_max)),
          bytes_max_(text_bytes_max(asked)),
          choices_(asked.choices, Choice{InlineSplitter(first_state(peer, delivered))}) {}

    bool server_splits() const { return server_splits_; }

    void feed(std::string_view bytes) {
        if (!done_) parser_.feed(bytes);
    }

    Result<std::optional<Read>> next() {
        if (!further_.empty()) return take(std::exchange(further_, {}));
        if (done_) return std::nullopt;
        auto event = parser_.next();
        if (!event) {
            event.error().origin = base::Origin::instance;
            event.error().retry = base::Retry::elsewhere;
            return std::unexpected(std::move(event).error());
        }
        if (!*event) return std::nullopt;
        if (is_end((*event)->data)) {
            done_ = true;
            return Read{.done = true};
        }
        Chunk chunk;
        HF_TRY(read_chunk((*event)->data, rules_, chunk));
        return accept(chunk);
    }

private:
    struct Choice {
        InlineSplitter splitter;
        bool finished = false;
        std::size_t tokens = 0, bytes = 0;
    };

    static bool is_end(std::string_view data) {
        const std::size_t last = data.find_last_not_of(" \t\r\n");
        return data.substr(0, last == std::string_view::npos ? 0 : last + 1) == "[DONE]";
    }

    Result<std::optional<Read>> accept(Chunk& chunk) {
        HF_TRY(check(chunk.event, chunk));
        for (chat::Event& event : chunk.further) HF_TRY(check(event, chunk));
        // Some servers report running figures in every chunk; only the last ones count.
        if (chunk.usage) {
            const bool is_last =
                !chunk.has_choice || std::ranges::all_of(choices_, &Choice::finished);
            if (is_last) chunk.event.usage = chunk.usage;
            if (!is_last && !std::exchange(knows_prompt_, true))
                chunk.event.prompt_tokens = chunk.usage->prompt_tokens;
        }
        if (chunk.further.empty()) return take(chunk.event);
        chunk.further.push_back(std::move(chunk.event));
        return take(std::move(chunk.further));
    }

    // The first of several; the others wait.
    Result<std::optional<Read>> take(std::vector<chat::Event> events) {
        chat::Event first = std::move(events.front());
        events.erase(events.begin());
        further_ = std::move(events);
        return take(first);
    }

    // Moves the event only once: it is large, and there is one per token.
    static Result<std::optional<Read>> take(chat::Event& event) {
        Result<std::optional<Read>> result(std::in_place, std::in_place);
        const bool says_something = !event.ids.empty() || !event.reasoning.empty() ||
                                    !event.content.empty() || !event.scores.empty() ||
                                    event.finish || event.usage;
        if (says_something) (*result)->event.emplace(std::move(event));
        return result;
    }

    // Whether the event can belong to the answer that was asked for.
    Result<> check(chat::Event& event, const Chunk& chunk) {
        if (event.choice >= choices_.size())
            return corrupt_chunk("answers a choice that was not asked for");
        Choice& choice = choices_[event.choice];
        if (choice.finished) {
            event = {.choice = event.choice};
            return {};
        }
        choice.tokens += event.ids.size();
        choice.bytes += event.reasoning.size() + event.content.size();
        if (choice.tokens > tokens_max_ || choice.bytes > bytes_max_)
            return corrupt_chunk("says more than was asked for");
        server_splits_ = server_splits_ || !event.reasoning.empty();
        if (chunk.is_chat) choice.splitter.split(event);
        if (event.scores.size() == event.ids.size()) {
            for (std::size_t i = 0; i < event.ids.size(); ++i) event.scores[i].id = event.ids[i];
        }
        choice.finished = event.finish.has_value();
        return {};
    }

    SseParser parser_;
    const ChunkRules rules_;
    const std::size_t tokens_max_, bytes_max_;
    std::vector<Choice> choices_;
    std::vector<chat::Event> further_;
    bool server_splits_ = false, knows_prompt_ = false, done_ = false;
};

Reader::Reader(const Peer& peer, const chat::Generation& asked, const Delivered& delivered)
    : impl_(std::make_unique<Impl>(peer, asked, delivered)) {}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

void Reader::feed(std::string_view bytes) { impl_->feed(bytes); }
Result<std::optional<Reader::Read>> Reader::next() { return impl_->next(); }
bool Reader::server_splits() const { return impl_->server_splits(); }

}  // namespace holdfast::upstream
