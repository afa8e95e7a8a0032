// The kinds of server that can be asked for raw answers; each is defined in the file of its name.
#pragma once

#include "common/upstream/raw.h"

namespace holdfast::upstream {

extern const RawForm raw_llama_server;
extern const RawForm raw_vllm;

// The text ends with <think>, perhaps with newlines after it.
bool opens_thinking(std::string_view prompt);

}  // namespace holdfast::upstream
