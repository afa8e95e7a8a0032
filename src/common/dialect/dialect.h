// An API's bytes on one side, chat/ types on the other. One file per API, listed in dialects.def.
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
    std::string fingerprint = {};  // OpenAI's system_fingerprint; empty: not known
};

// Turns events into the bytes of one answer. A streaming encoder appends bytes for every event; a
// whole encoder collects and appends everything in `end`. It keeps what it needs of the request.
// The bytes depend on the events alone, not on when they come, so that a replay gives them again.
class Encoder {
public:
    virtual ~Encoder() = default;
    virtual void event(const chat::Event& event, std::string& out) = 0;
    // After the last event: finish chunks, usage, "[DONE]" or the whole body.
    virtual void end(std::string& out) = 0;
    // An answer that cannot go on: for a stream an error event in place of the proper end, for a
    // whole answer the error object in place of the body. `end` is not called after it.
    virtual void error(const base::Error& error, std::string& out) = 0;
};

struct ErrorAnswer {
    int status = 500;
    std::string body;  // JSON
};

// How the bytes of an answer travel.
struct Framing {
    std::string_view content_type;
    // What may be sent between two events while there is nothing to say, and means nothing to the
    // client; empty where an API has no such thing.
    std::string_view ping;
};

inline constexpr Framing server_sent_events{"text/event-stream", ": ping\n\n"};
inline constexpr Framing whole_json{"application/json", "\n"};  // blanks may stand before JSON

// Where an API takes requests. Two routes may differ in what a body means.
struct Route {
    std::string_view method, path;  // "POST", "/v1/chat/completions"
    base::Result<chat::Request> (*parse)(std::string_view body);
};

struct Dialect {
    std::string_view name;  // "openai_chat"
    std::string_view summary;
    std::span<const Route> routes;  // the first is the usual one
    std::string_view id_prefix;     // "chatcmpl-"
    Framing stream, whole;
    // A streaming or a whole encoder, as the request's presentation says.
    std::unique_ptr<Encoder> (*make_encoder)(const chat::Request& request, const AnswerHead& head);
    ErrorAnswer (*render_error)(const base::Error& error);

    const Framing& framing(const chat::Presentation& presentation) const {
        return presentation.stream ? stream : whole;
    }
};

std::span<const Dialect* const> dialects();

struct Found {
    const Dialect* dialect = nullptr;  // nullptr: the path belongs to no API
    const Route* route = nullptr;      // nullptr: the API does not take this method there
    std::string_view methods;          // "POST": what it does take, as in an Allow header
};
Found find(std::string_view method, std::string_view path);

// Errors where no API is known yet take the form of the first one in the list.
ErrorAnswer render_error(const base::Error& error);
// The same for an HTTP status that the server itself gives (400, 408, 413, 431 ...).
ErrorAnswer render_status(int status, std::string_view reason);

}  // namespace holdfast::dialect
