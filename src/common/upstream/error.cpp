#include "common/upstream/error.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "common/json/reader.h"
#include "common/upstream/limits.h"
#include "common/upstream/text.h"

namespace holdfast::upstream {
namespace {

using base::Code;
using base::Error;
using base::Origin;
using base::Retry;

struct Fault {
    std::string message, type, param, tag;
    int status = 0;  // if the object repeats it
};

void read_text(const json::Value& value, std::size_t bytes_max, std::string& target) {
    if (value.is_string()) target = one_line(*value.string(), bytes_max);
}

void read_details(const json::Value& value, Fault& fault) {
    (void)value.each_member([&](std::string_view key, const json::Value& member) -> base::Result<> {
        if (key == "message" || key == "detail") {
            read_text(member, message_bytes_max, fault.message);
        } else if (key == "type") {
            read_text(member, word_bytes_max, fault.type);
        } else if (key == "param") {
            read_text(member, word_bytes_max, fault.param);
        } else if (key == "code" && member.is_string()) {
            read_text(member, word_bytes_max, fault.tag);
        } else if (key == "code" && member.is_number()) {
            // vLLM and llama-server repeat the HTTP status here.
            fault.status = static_cast<int>(member.integer(0, 999).value_or(0));
        }
        return {};
    });
}

Fault read_fault(std::string_view body) {
    Fault fault;
    const auto document = json::Document::parse(body);
    if (!document || !document->root().is_object()) return fault;
    read_details(document->root(), fault);
    (void)document->root().each_member(
        [&](std::string_view key, const json::Value& member) -> base::Result<> {
            if (key != "error") return {};
            if (member.is_object()) {
                read_details(member, fault);
            } else {
                read_text(member, message_bytes_max, fault.message);
            }
            return {};
        });
    return fault;
}

struct Verdict {
    Code code;
    Origin origin;
    Retry retry;
};

Verdict judge(int status, std::string_view tag) {
    if (tag == "fingerprint_mismatch")
        return {Code::unavailable, Origin::instance, Retry::elsewhere};
    if (tag == "deadline_exceeded") return {Code::deadline, Origin::instance, Retry::no};
    switch (status) {
        // The instance does not accept who we are: our settings are wrong, not the request.
        case 401:
        case 403:
        case 407:
            return {Code::unavailable, Origin::instance, Retry::elsewhere};
        case 404:
            return {Code::not_found, Origin::client, Retry::no};
        case 408:
            return {Code::unavailable, Origin::instance, Retry::elsewhere};
        case 429:
        case 503:
            return {Code::overloaded, Origin::instance, Retry::elsewhere};
        default:
            break;
    }
    if (status >= 400 && status < 500) return {Code::invalid, Origin::client, Retry::no};
    return {Code::unavailable, Origin::instance, Retry::elsewhere};
}

Error error_of(Fault fault, int status) {
    const Verdict verdict = judge(status, fault.tag);
    Error error{verdict.code, std::move(fault.message), verdict.origin, verdict.retry};
    if (error.what.empty())
        error.what = fmt::format("The instance answered with status {}.", status);
    if (verdict.origin == Origin::client || verdict.code == Code::deadline ||
        fault.tag == "fingerprint_mismatch") {
        error.field = std::move(fault.param);
        error.tag = std::move(fault.tag);
    }
    if (status == 413 && error.tag.empty()) error.tag = "payload_too_large";
    return error;
}

}  // namespace

Error read_error(int status, std::string_view body) { return error_of(read_fault(body), status); }

Error read_stream_error(std::string_view data) {
    Fault fault = read_fault(data);
    const int status = fault.status != 0                       ? fault.status
                       : fault.type == "invalid_request_error" ? 400
                                                               : 500;
    Error error = error_of(std::move(fault), status);
    error.origin = Origin::instance;
    return error;
}

}  // namespace holdfast::upstream
