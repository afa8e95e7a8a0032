// What models are judged by: running text, and problems with known answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "inference/text/tokenizer.h"

namespace holdfast::eval {

// Token ids of which those from `scored_from` (at least 1) on are to be predicted.
struct Passage {
    std::vector<chat::TokenId> tokens;
    std::uint32_t scored_from = 1;
};

// How a long text is cut: the first window predicts all its tokens, each further one begins
// `stride` later and predicts its last `stride`, so that every token counts once and nearly all
// see at least window - stride before them. https://huggingface.co/docs/transformers/perplexity
struct Windows {
    std::uint32_t window = 512, stride = 256;  // tokens, the BOS before each window not counted
};
std::vector<Passage> cut_text(const text::Tokenizer& tokenizer, std::string_view text,
                              const Windows& windows);

// A conversation and what makes its answer right.
struct Problem {
    std::string category;
    std::vector<chat::Message> messages;
    std::string completion;            // a right thought and answer; empty: none given
    std::optional<std::string> value;  // what the answer must show, or else
    std::vector<std::string> answers;  // one of these must be the whole answer
};

// JSON lines with "messages" and "value" or "answers", perhaps "category" and "completion". Errors
// name file, line and field. At least one problem.
[[nodiscard]] base::Result<std::vector<Problem>> read_problems(const std::string& path);

// Whether a completion closes its thinking once and answers rightly: all that its answer shows in
// \boxed{}, or if nothing is boxed all whole numbers in **bold**, is `value`, and there is
// something; or the answer is one of `answers`.
bool is_right(const Problem& problem, std::string_view completion);

// The prompt's ids.
std::vector<chat::TokenId> prompt_of(const Problem& problem, const text::Tokenizer& tokenizer,
                                     const text::ChatTemplate& chat);

// Problems with a completion, which is what counts, with the end of sequence behind it.
std::vector<Passage> passages_of(const std::vector<Problem>& problems,
                                 const text::Tokenizer& tokenizer, const text::ChatTemplate& chat,
                                 chat::TokenId end);

}  // namespace holdfast::eval
