#include "common/dialect/status.h"

#include <array>
#include <string>
#include <utility>

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

}  // namespace

int status_of(const base::Error& error) {
    for (const std::string_view tag : {std::string_view(error.tag), default_tag(error.code)}) {
        for (const TagStatus& entry : tag_statuses) {
            if (entry.tag == tag) return entry.status;
        }
    }
    return 400;
}

std::string_view tag_of(const base::Error& error) {
    return error.tag.empty() ? default_tag(error.code) : std::string_view(error.tag);
}

std::string_view message_of(const base::Error& error) {
    const bool hide = error.code == Code::internal || error.what.empty();
    return hide ? "The server had an error while processing the request."
                : std::string_view(error.what);
}

base::Error error_of_status(int status, std::string_view reason) {
    base::Error error{status < 500 ? Code::invalid : Code::unavailable, std::string(reason)};
    for (const TagStatus& entry : tag_statuses) {
        if (entry.status != status || entry.tag == "context_length_exceeded") continue;
        error.code = entry.code;
        error.tag = entry.tag;
        if (entry.tag != "model_not_found") break;  // of the two 404, the general one
    }
    return error;
}

}  // namespace holdfast::dialect
