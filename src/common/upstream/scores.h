#pragma once

#include <simdjson.h>

#include <vector>

#include "common/chat/event.h"

namespace holdfast::upstream {

// Reads a chunk's `logprobs` in the form of chat or of text completions; null gives none. False
// for what is neither. Only for streams whose client asked for log probabilities.
bool read_scores(simdjson::ondemand::value value, std::vector<chat::TokenScore>& scores);

}  // namespace holdfast::upstream
