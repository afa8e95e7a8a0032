// OpenAI's error object, which its APIs share.
#include "common/dialect/openai_error.h"

#include "common/dialect/status.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {
namespace {

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

ErrorAnswer render_error(const base::Error& error) {
    ErrorAnswer answer{.status = status_of(error)};
    json::Writer json(answer.body);
    json.begin_object();
    json.key("error");
    json.begin_object();
    json.string("message", message_of(error));
    json.string("type", type_of(answer.status));
    write_text_or_null(json, "param", error.field);
    write_text_or_null(json, "code", tag_of(error));
    json.end_object();
    json.end_object();
    return answer;
}

}  // namespace holdfast::dialect::openai
