#include <algorithm>

#include "common/base/utf8.h"
#include "common/json/reader.h"
#include "common/upstream/fault.h"
#include "common/upstream/upstream.h"

namespace holdfast::upstream {
namespace {

using base::Code;
using base::Error;
using base::Origin;
using base::Retry;

constexpr std::size_t message_bytes_max = 1000;

std::string shortened(std::string_view text) {
    std::string out(text.substr(0, message_bytes_max));
    while (!out.empty() && !base::is_utf8(out) && out.size() + 4 > message_bytes_max)
        out.pop_back();
    return base::is_utf8(out) ? out : std::string();
}

void read_text(const json::Value& value, std::string& target) {
    if (value.is_string()) target = shortened(*value.string());
}

void read_details(const json::Value& value, UpstreamFault& fault) {
    (void)value.each_member([&](std::string_view key, const json::Value& member) -> base::Result<> {
        if (key == "message" || key == "detail") {
            read_text(member, fault.message);
        } else if (key == "type") {
            read_text(member, fault.type);
        } else if (key == "param") {
            read_text(member, fault.param);
        } else if (key == "code" && member.is_string()) {
            read_text(member, fault.tag);
        } else if (key == "code" && member.is_number()) {
            // vLLM and llama-server repeat the HTTP status here.
            fault.status = static_cast<int>(member.integer(0, 999).value_or(0));
        }
        return {};
    });
}

}  // namespace

UpstreamFault read_fault(std::string_view body) {
    UpstreamFault fault;
    const auto document = json::Document::parse(body);
    if (!document || !document->root().is_object()) return fault;
    read_details(document->root(), fault);
    (void)document->root().each_member(
        [&](std::string_view key, const json::Value& member) -> base::Result<> {
            if (key != "error") return {};
            if (member.is_object()) {
                read_details(member, fault);
            } else {
                read_text(member, fault.message);
            }
            return {};
        });
    return fault;
}

namespace {

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

}  // namespace

Error error_of(UpstreamFault fault, int status) {
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

Error read_upstream_error(int status, std::string_view body) {
    return error_of(read_fault(body), status);
}

}  // namespace holdfast::upstream
