#include <array>

#include "common/dialect/dialect.h"
#include "common/json/writer.h"

namespace holdfast::dialect {
namespace {

using base::Code;

struct TagStatus {
    std::string_view tag;
    int status;
    Code code;
};

// The stable words of Error::tag that decide the status.
constexpr std::array tag_statuses = {
    TagStatus{"context_length_exceeded", 400, Code::invalid},
    TagStatus{"invalid_api_key", 401, Code::invalid},
    TagStatus{"permission_denied", 403, Code::invalid},
    TagStatus{"model_not_found", 404, Code::not_found},
    TagStatus{"not_found", 404, Code::not_found},
    TagStatus{"method_not_allowed", 405, Code::invalid},
    TagStatus{"request_timeout", 408, Code::invalid},
    TagStatus{"fingerprint_mismatch", 409, Code::unavailable},
    TagStatus{"payload_too_large", 413, Code::invalid},
    TagStatus{"unsupported_media_type", 415, Code::invalid},
    TagStatus{"expectation_failed", 417, Code::invalid},
    TagStatus{"rate_limit_exceeded", 429, Code::overloaded},
    TagStatus{"header_too_large", 431, Code::invalid},
    TagStatus{"client_closed_request", 499, Code::cancelled},
    TagStatus{"internal_error", 500, Code::internal},
    TagStatus{"not_implemented", 501, Code::invalid},
    TagStatus{"bad_gateway", 502, Code::corrupt},
    TagStatus{"overloaded", 503, Code::overloaded},
    TagStatus{"no_ready_instance", 503, Code::unavailable},
    TagStatus{"unavailable", 503, Code::unavailable},
    TagStatus{"deadline_exceeded", 504, Code::deadline},
};

// The word for errors that bring none of their own; none for an invalid request, as at OpenAI.
std::string_view default_tag(Code code) {
    switch (code) {
        case Code::invalid:
            return "";
        case Code::not_found:
            return "not_found";
        case Code::overloaded:
            return "overloaded";
        case Code::deadline:
            return "deadline_exceeded";
        case Code::cancelled:
            return "client_closed_request";
        case Code::unavailable:
            return "unavailable";
        case Code::corrupt:
            return "bad_gateway";
        case Code::internal:
            return "internal_error";
    }
    std::unreachable();
}

int status_of(const base::Error& error) {
    for (const std::string_view tag : {std::string_view(error.tag), default_tag(error.code)}) {
        for (const TagStatus& entry : tag_statuses) {
            if (entry.tag == tag) return entry.status;
        }
    }
    return 400;
}

std::string_view type_of(int status) {
    switch (status) {
        case 401:
            return "authentication_error";
        case 403:
            return "permission_error";
        case 429:
            return "rate_limit_error";
        default:
            return status < 500 ? "invalid_request_error" : "api_error";
    }
}

void write_text_or_null(json::Writer& json, std::string_view key, std::string_view text) {
    json.key(key);
    if (text.empty()) {
        json.null();
    } else {
        json.string(text);
    }
}

}  // namespace

ErrorAnswer openai_error(const base::Error& error) {
    ErrorAnswer answer{.status = status_of(error)};
    // What went wrong inside is for the log; clients could neither use it nor should they see it.
    const bool hide = error.code == Code::internal || error.what.empty();
    json::Writer json(answer.body);
    json.begin_object();
    json.key("error");
    json.begin_object();
    json.string("message", hide ? "The server had an error while processing the request."
                                : std::string_view(error.what));
    json.string("type", type_of(answer.status));
    write_text_or_null(json, "param", error.field);
    write_text_or_null(json, "code", error.tag.empty() ? default_tag(error.code) : error.tag);
    json.end_object();
    json.end_object();
    return answer;
}

ErrorAnswer openai_status_error(int status, std::string_view reason) {
    base::Error error{status < 500 ? Code::invalid : Code::unavailable, std::string(reason)};
    for (const TagStatus& entry : tag_statuses) {
        if (entry.status != status || entry.tag == "context_length_exceeded") continue;
        error.code = entry.code;
        error.tag = entry.tag;
        if (entry.tag != "model_not_found") break;  // of the two 404, the general one
    }
    ErrorAnswer answer = openai_error(error);
    answer.status = status;
    return answer;
}

}  // namespace holdfast::dialect
