// Raw generation at servers of other projects: the server turns the messages into a prompt in a
// call of its own, and is then asked for plain text after that prompt. The gateway knows the prompt
// and every token of the answer, so another server can go on exactly where a lost one stopped, and
// thinking, stop strings and counts are the same whatever the server does with them.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "common/upstream/kind.h"

namespace holdfast::upstream {

// A prompt as the server made it, or as the client gave it: its text or its ids.
struct RawPrompt {
    std::string text;
    std::vector<chat::TokenId> ids;
    bool opens_thinking =
        false;                  // ends with <think>, so that the answer begins within the thinking
    std::uint32_t context = 0;  // most tokens of prompt and answer; 0: not told
};

// What was said after the prompt: ids, and text where the server did not tell its ids.
struct RawRun {
    std::vector<chat::TokenId> ids;
    std::string text;  // without ids
};

struct RawAsk {
    std::string_view model;
    const RawPrompt& prompt;
    std::span<const RawRun> said;
    std::uint32_t said_tokens = 0;
    const chat::Sampling& sampling;
    const chat::Stopping& stopping;  // of the whole answer; stop strings are left to the gateway
    std::optional<std::uint32_t> logprobs;
};

// What one event of a raw answer says.
struct RawPiece {
    std::string text;
    boost::container::small_vector<chat::TokenId, 4> ids;
    std::vector<chat::TokenScore> scores;
    std::optional<chat::FinishReason> finish;
    std::uint32_t tokens = 0;                    // generated in this attempt so far; 0: not told
    std::optional<std::uint32_t> prompt_tokens;  // with all that was said before this attempt
    std::vector<chat::TokenId> prompt_ids;       // told with the first event, if at all
    bool done = false;                           // nothing follows
};

// How one kind of server is asked for raw answers. Pure functions. Errors of what it says are
// Code::corrupt (Origin::instance), or the error that it reports.
struct RawForm {
    Call (*render)(std::string_view model, std::span<const chat::Message> messages);
    base::Result<RawPrompt> (*read_rendered)(std::string_view body);
    Call (*generate)(const RawAsk& ask);
    // The data of one event of the stream.
    base::Result<RawPiece> (*read)(std::string_view data);
    // Text may follow the prompt's text, where ids are not told.
    bool takes_text;
    // Penalties count what was said before this attempt as they count the rest of the answer.
    bool penalties_continue;
    // A page with counters that grow with every step of the engine, also while its front answers
    // and its engine does not; empty where there is none.
    std::string_view progress_path;
    std::optional<double> (*read_progress)(std::string_view page);
};

// The answer is best asked for raw at such a server: one that can go on elsewhere.
bool fits_raw(const Peer& peer, const chat::Generation& wanted);
// Another attempt says the same as the lost one would have: nothing in it depends on more than the
// tokens before. Random numbers do, for they cannot be taken up where the lost server was.
bool repeats_exactly(const RawForm& form, const chat::Sampling& sampling);

// A request with one token to generate, after this prompt: shows whether ids are told.
Call raw_trial(const RawForm& form, std::string_view model, const RawPrompt& prompt);

}  // namespace holdfast::upstream
