// The pieces that the answers of OpenAI's chat and text completions share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/dialect/dialect.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {

// `{"id":…,"object":…,"created":…,"model":…,"choices":[`: constant throughout an answer, so it is
// written once and copied into every chunk.
std::string answer_prefix(const AnswerHead& head, std::string_view object);

void append_usage(std::string& out, const chat::Usage& usage);          // the object alone
void append_ids(std::string& out, std::span<const chat::TokenId> ids);  // ,"holdfast":{"ids":[…]}
// A token's bytes as text. Half a character becomes its bytes in hexadecimal after `prefix`, as
// OpenAI does it, so that different tokens stay different.
std::string token_text(std::string_view bytes, std::string_view prefix);
// The reverse.
std::string token_bytes(std::string_view text, std::string_view prefix);
inline constexpr std::string_view chat_bytes_prefix;
inline constexpr std::string_view completions_bytes_prefix = "bytes:";

// {"content":[…],"refusal":null}
void append_chat_scores(std::string& out, std::span<const chat::TokenScore> scores);
// {"tokens":[…],"token_logprobs":[…],"top_logprobs":[…],"text_offset":[…]}. `offset` counts the
// characters before, and is moved on.
void append_completion_scores(std::string& out, std::span<const chat::TokenScore> scores,
                              std::uint64_t& offset);

// Writes a stream chunk by chunk. The two APIs differ in what a choice says and in how scores look.
class StreamEncoder : public Encoder {
public:
    StreamEncoder(const chat::Request& request, const AnswerHead& head, std::string_view object);
    void event(const chat::Event& event, std::string& out) final;
    void end(std::string& out) final;
    void error(const base::Error& error, std::string& out) final;

private:
    // The choice's first chunk, where the API has one that says nothing yet.
    virtual void begin(std::uint32_t choice, std::string& out) = 0;
    // The members of a choice after "index": `"delta":{...}` or `"text":"..."`.
    virtual void append_text(std::string& out, std::uint32_t choice, std::string_view reasoning,
                             std::string_view content) = 0;
    virtual void append_scores(std::string& out, std::uint32_t choice,
                               std::span<const chat::TokenScore> scores) = 0;

protected:
    // `"data: {...,"choices":[{"index":N,`
    void open(std::uint32_t choice, std::string& out) const;
    // `,"finish_reason":...}]`, the token ids if they are wanted, and the end of the chunk.
    void close(std::optional<chat::FinishReason> finish, std::span<const chat::TokenId> ids,
               std::string& out) const;

private:
    void chunk(const chat::Event& event, std::optional<chat::FinishReason> finish,
               std::string& out);

    std::string prefix_;
    bool want_ids_, include_usage_;
    std::vector<bool> begun_;
    std::optional<chat::Usage> usage_;
};

// What a whole answer collects of one choice.
struct CollectedChoice {
    std::string reasoning, content;
    std::vector<chat::TokenScore> scores;
    std::optional<chat::FinishReason> finish;
    void add(const chat::Event& event);
};

// Collects a whole answer and writes it at its end. The two APIs differ in what a choice says and
// in how scores look.
class WholeEncoder : public Encoder {
public:
    WholeEncoder(const chat::Request& request, const AnswerHead& head, std::string_view object);
    void event(const chat::Event& event, std::string& out) final;
    void end(std::string& out) final;
    void error(const base::Error& error, std::string& out) final;

private:
    // The members of a choice between "index" and "logprobs".
    virtual void write_content(json::Writer& json, const CollectedChoice& choice) const = 0;
    virtual void append_scores(std::string& out, const CollectedChoice& choice) const = 0;
    void write(json::Writer& json, std::size_t index) const;

    std::string prefix_;
    bool has_scores_;
    std::vector<CollectedChoice> choices_;
    chat::Usage usage_;
};

// Puts thinking and answer into one text: "<think>\n", the thinking, "\n</think>\n\n", the answer.
// One per choice.
class InlineThinking {
public:
    void append(std::string& out, std::string_view reasoning, std::string_view content);

private:
    enum class State : std::uint8_t { before, thinking, after } state_ = State::before;
};

}  // namespace holdfast::dialect::openai
