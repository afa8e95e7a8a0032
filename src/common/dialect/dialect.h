// An API's JSON on one side, chat/ types on the other. One file per API, listed in dialects.def.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"

namespace holdfast::dialect {

// The same in every chunk of an answer.
struct AnswerHead {
    std::string id;            // "chatcmpl-..." or "cmpl-...": one throughout, whatever dies
    std::int64_t created = 0;  // seconds since 1970
    std::string model;
};

// Turns events into the bytes of one answer. A streaming encoder appends bytes for every event; a
// whole encoder collects and appends everything in `end`.
class Encoder {
public:
    virtual ~Encoder() = default;
    virtual void event(const chat::Event& event, std::string& out) = 0;
    // After the last event: finish chunks, usage, "[DONE]" or the whole body.
    virtual void end(std::string& out) = 0;
    // An answer that cannot go on: one error event and no "[DONE]" for a stream, the error object
    // in place of the body for a whole answer. `end` is not called after it.
    virtual void error(const base::Error& error, std::string& out) = 0;
};

struct ErrorAnswer {
    int status = 500;
    std::string body;  // JSON
};

struct Dialect {
    std::string_view name;  // "openai_chat"
    std::string_view summary;
    std::string_view path;                 // "/v1/chat/completions"
    std::string_view id_prefix;            // "chatcmpl-"
    std::string_view stream_content_type;  // "text/event-stream"
    base::Result<chat::Request> (*parse)(std::string_view body);
    std::unique_ptr<Encoder> (*stream_encoder)(const chat::Request& request,
                                               const AnswerHead& head);
    std::unique_ptr<Encoder> (*whole_encoder)(const chat::Request& request, const AnswerHead& head);
    ErrorAnswer (*render_error)(const base::Error& error);
};

std::span<const Dialect> dialects();
const Dialect* find_by_path(std::string_view path);

// OpenAI's error object for a status and a reason, for errors before any dialect is known.
// Status from code and tag: invalid 400 (payload too large 413, media type 415, ...), not_found
// 404, overloaded 429 or 503, deadline 504, unavailable 503, internal 500.
ErrorAnswer openai_error(const base::Error& error);
// The same for an HTTP status that the server itself gives (400, 408, 413, 431 ...).
ErrorAnswer openai_status_error(int status, std::string_view reason);

}  // namespace holdfast::dialect
