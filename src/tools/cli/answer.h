// One streamed answer on its way to the person: reads the chunks of OpenAI's API and writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tools/cli/terminal.h"

namespace holdfast::cli {

// How thinking is told from the answer: dimmed on a terminal, between <think> tags elsewhere, so
// that a script can tell them apart too.
struct AnswerStyle {
    bool terminal = false;
    bool hide_thinking = false;
};

class Answer {
public:
    Answer(AnswerStyle style, int output, const base::Clock& clock);

    // One chunk. Fails for an error inside the stream and for what is no chunk.
    base::Result<> add(std::string_view chunk);
    // Ends the last line and takes back the colours; also after an answer that was cut short.
    void end();

    const std::string& content() const { return content_; }  // without thinking
    // "[123 tokens, 45.6 tokens/s, first after 0.32 s, 3.0 s in all]"
    std::string statistics() const;

private:
    enum class Part { none, thinking, content };
    void write(Part part, std::string_view text);
    void leave_thinking();

    AnswerStyle style_;
    int output_;
    const base::Clock& clock_;
    base::Instant began_;
    std::optional<base::Instant> first_;
    base::Instant last_;
    Part part_ = Part::none;
    bool line_open_ = false;
    std::uint64_t pieces_ = 0;
    std::optional<std::uint64_t> tokens_;
    std::string content_, finish_reason_;
};

}  // namespace holdfast::cli
