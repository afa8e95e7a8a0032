// What an instance's error object says, in any of the forms in use: OpenAI's {"error":{…}}, vLLM's
// older flat object, FastAPI's {"detail":…} and Ollama's {"error":"text"}.
#pragma once

#include <string_view>

#include "common/base/error.h"

namespace holdfast::upstream {

// An answer with a status other than 200: a 4xx is the client's error and keeps message, param,
// code; 429 and 503 are overloaded (Retry::elsewhere); other 5xx are unavailable.
base::Error read_error(int status, std::string_view body);
// An error inside a stream, which has no status but what the object repeats. Origin::instance.
base::Error read_stream_error(std::string_view data);

}  // namespace holdfast::upstream
