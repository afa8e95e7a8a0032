// What an instance's error object says, in any of the forms in use: OpenAI's {"error":{…}}, vLLM's
// older flat object, FastAPI's {"detail":…} and Ollama's {"error":"text"}.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::upstream {

struct UpstreamFault {
    std::string message, type, param, tag;
    int status = 0;  // if the object repeats it
};

UpstreamFault read_fault(std::string_view body);
base::Error error_of(UpstreamFault fault, int status);

}  // namespace holdfast::upstream
