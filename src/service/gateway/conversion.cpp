#include "service/gateway/conversion.h"

#include <fmt/format.h>

#include "service/gateway/relay.h"

namespace holdfast::gateway {

namespace {

// Of an instance's answer.
constexpr std::uint64_t answer_bytes_max = 64U << 20;

// An older or smaller server than its kind promises.
bool has_no_such_path(int status) { return status == 404 || status == 405 || status == 501; }

}  // namespace

bool Conversion::handles(std::string_view path) {
    return path == dialect::tokenize_path || path == dialect::detokenize_path;
}

Conversion::Conversion(Context& context, std::string_view path) : context_(context) {
    if (path == dialect::detokenize_path) request_ = dialect::DetokenizeRequest();
}

std::string_view Conversion::path() const {
    return std::holds_alternative<dialect::TokenizeRequest>(request_) ? dialect::tokenize_path
                                                                      : dialect::detokenize_path;
}

base::Result<> Conversion::parse(const http::Request& request) {
    if (path() == dialect::tokenize_path) {
        HF_TRY_ASSIGN(request_, dialect::parse_tokenize(request.body));
    } else {
        HF_TRY_ASSIGN(request_, dialect::parse_detokenize(request.body));
    }
    // vLLM lets clients leave the model out; with one model there is no question.
    if (!model().empty()) return {};
    std::string_view only;
    for (const fleet::Instance& instance : context_.lane.fleet.snapshot().instances) {
        if (instance.model.empty() || instance.model == only) continue;
        if (!only.empty())
            return base::fail_field("model", "model must be given: there are several.");
        only = instance.model;
    }
    std::visit([&](auto& asked) { asked.model = only; }, request_);
    return {};
}

std::string_view Conversion::model() const {
    return std::visit([](const auto& asked) -> std::string_view { return asked.model; }, request_);
}

loop::Task<base::Result<>> Conversion::answer() {
    Relay relay(context_, *this);
    co_return co_await relay.run();
}

Need Conversion::need() const {
    Need need;
    need.model = model();
    return need;
}

base::Result<upstream::Call> Conversion::call(const fleet::Instance& instance) {
    return std::visit(
        [&](const auto& asked) {
            return upstream::encode(asked, *instance.peer.kind, instance.upstream_model);
        },
        request_);
}

std::uint64_t Conversion::bytes_max(const fleet::Instance&) const { return answer_bytes_max; }

base::Error Conversion::refusal(const fleet::Instance& instance, int status,
                                std::string_view body) const {
    const bool external = !instance.peer.kind->extended;
    if (!external || !has_no_such_path(status)) return Work::refusal(instance, status, body);
    return {base::Code::invalid,
            fmt::format("The instance {} offers no {}.", instance.id, path()),
            base::Origin::instance,
            base::Retry::elsewhere,
            "",
            "not_implemented"};
}

base::Result<> Conversion::begin(const fleet::Instance& instance, const http::Headers&) {
    instance_context_ = instance.context;
    body_.clear();
    return {};
}

// Where the body ends is known only when it has.
base::Result<bool> Conversion::take(std::string_view piece) {
    body_ += piece;
    return false;
}

base::Result<> Conversion::ended() {
    HF_TRY_ASSIGN(body_, translate());
    context_.record.finish = chat::name(chat::FinishReason::stop);
    return {};
}

base::Result<std::string> Conversion::translate() const {
    if (std::holds_alternative<dialect::DetokenizeRequest>(request_)) {
        HF_TRY_ASSIGN(const std::string text, upstream::read_detokenized(body_));
        return dialect::render_detokenized(text);
    }
    HF_TRY_ASSIGN(dialect::TokenizeAnswer answer, upstream::read_tokenized(body_));
    if (answer.context == 0) answer.context = instance_context_;
    return dialect::render_tokenized(answer);
}

loop::Task<base::Result<>> Conversion::pass_on() { co_return base::Result<>{}; }

loop::Task<base::Result<>> Conversion::finish() {
    http::Response response;
    response.headers.add("Content-Type", "application/json");
    response.headers.add("x-request-id", context_.request_id);
    response.headers.add("x-holdfast-instance", context_.record.last_instance);
    response.headers.add("x-holdfast-attempts", fmt::format_int(context_.record.attempts).c_str());
    response.body = std::move(body_);
    return context_.responder.send(std::move(response));
}

}  // namespace holdfast::gateway
