#include "service/gateway/attempt.h"

#include <fmt/format.h>

namespace holdfast::gateway {

namespace {

fleet::Outcome judge(const base::Error& error) {
    switch (error.code) {
        case base::Code::overloaded:
            return fleet::Outcome::busy;
        case base::Code::unavailable:
            return fleet::Outcome::lost;
        default:
            return fleet::Outcome::sick;
    }
}

// What the instance has said ends the attempt. A worker that ends work at our own deadline is not
// at fault.
Loss said(base::Error error) {
    if (error.tag == "deadline_exceeded") error.origin = base::Origin::self;
    const bool at_fault = error.origin == base::Origin::instance;
    return {std::move(error), at_fault ? fleet::Outcome::sick : fleet::Outcome::ok};
}

}  // namespace

Attempt::Attempt(Context& context, Work& work, const Placed& placed)
    : context_(context),
      work_(work),
      instance_(placed.instance()),
      watch_(context.lane.fleet, placed, abort_),
      gained_before_(work.gained()) {}

loop::Task<AttemptEnd> Attempt::run(upstream::Call what) {
    if (work_.asks_first()) {
        auto told = co_await ask(std::move(what));
        if (!told) co_return std::unexpected(std::move(told).error());
        what = *std::move(told);
    }
    auto answering = co_await call(std::move(what));
    if (!answering) co_return std::unexpected(std::move(answering).error());
    auto begun = work_.begin(instance_, (*answering)->headers());
    if (!begun) co_return std::unexpected(said(std::move(begun).error()));
    AttemptEnd end = co_await read(**answering);
    if (!end) co_return end;
    if (auto sent = co_await work_.finish(); !sent)
        co_return std::unexpected(Loss{std::move(sent).error()});
    co_return end;
}

loop::Task<std::expected<upstream::Call, Loss>> Attempt::ask(upstream::Call question) {
    auto answering = co_await call(std::move(question));
    if (!answering) co_return std::unexpected(std::move(answering).error());
    const base::Deadline patience = this->patience();
    auto body = co_await (*answering)->read_all(patience);
    if (!body) co_return std::unexpected(broken(std::move(body).error(), patience));
    auto next = work_.learn(instance_, *body);
    if (!next) co_return std::unexpected(said(std::move(next).error()));
    co_return *std::move(next);
}

loop::Task<Attempt::Called> Attempt::call(upstream::Call what) {
    const base::Deadline head = patience();
    const http::ClientDeadlines deadlines{context_.in(context_.allowance.timeouts.connect), head};
    auto sent = co_await context_.lane.client.send(instance_.url, request(std::move(what)),
                                                   deadlines, &abort_);
    if (!sent) co_return std::unexpected(broken(std::move(sent).error(), head));
    std::unique_ptr<http::ClientExchange> answering = *std::move(sent);
    if (answering->status() == 200) co_return answering;
    auto body = co_await answering->read_all(head);
    if (!body) co_return std::unexpected(broken(std::move(body).error(), head));
    Loss loss = said(work_.refusal(instance_, answering->status(), *body));
    if (judge(loss.error) == fleet::Outcome::busy) loss.outcome = fleet::Outcome::busy;
    co_return std::unexpected(std::move(loss));
}

// An instance is heard as long as bytes come: a worker sends some only if it makes progress, of
// others nothing better is known. How long it may be silent depends on whether it has begun.
base::Deadline Attempt::patience() const {
    const Timeouts& timeouts = context_.allowance.timeouts;
    return context_.in(heard() ? timeouts.token_gap : timeouts.first_token);
}

loop::Task<AttemptEnd> Attempt::read(http::ClientExchange& answering) {
    std::uint64_t left = work_.bytes_max(instance_);
    for (;;) {
        // Counted from here: a client that is slow to read is not the instance's silence.
        const base::Deadline silence = patience();
        auto piece = co_await answering.read_some(silence);
        if (!piece) co_return std::unexpected(broken(std::move(piece).error(), silence));
        if (piece->empty()) {
            auto ended = work_.ended();
            if (ended) co_return AttemptEnd{};
            Loss loss{std::move(ended).error()};
            if (loss.error.code == base::Code::corrupt) loss.outcome = fleet::Outcome::sick;
            co_return std::unexpected(std::move(loss));
        }
        base::Result<bool> done =
            piece->size() <= left
                ? work_.take(*piece)
                : base::fail(base::Code::corrupt, "the instance says more than any answer needs");
        if (!done) {
            base::Error error = std::move(done).error();
            if (error.code == base::Code::corrupt) error.origin = base::Origin::instance;
            co_return std::unexpected(said(std::move(error)));
        }
        left -= piece->size();
        instance_.load->heard.fetch_add(1, std::memory_order_relaxed);
        // The last events leave together with the end.
        if (*done) co_return AttemptEnd{};
        if (!work_.streams()) continue;
        if (auto written = co_await work_.pass_on(); !written)
            co_return std::unexpected(Loss{std::move(written).error()});
    }
}

// The connection failed, or the instance was silent for too long.
Loss Attempt::broken(base::Error error, base::Deadline patience) const {
    if (abort_.triggered()) error = lost("the instance was found dead or hung");
    Loss loss{std::move(error)};
    loss.outcome = judge(loss.error);
    if (loss.error.code != base::Code::deadline) return loss;
    // Without a first token it may just have too much to do; one that stops is sick.
    const bool slow = !heard() && patience.passed(context_.now());
    if (slow) loss.outcome = fleet::Outcome::busy;
    loss.error = lost(heard() ? "the instance fell silent" : "the instance did not answer in time");
    return loss;
}

http::ClientRequest Attempt::request(upstream::Call call) const {
    http::ClientRequest request{"POST", std::move(call.path), {}, std::move(call.body)};
    request.headers.add("Content-Type", "application/json");
    request.headers.add("x-request-id", context_.request_id);
    request.headers.add("x-holdfast-attempt", fmt::format_int(context_.record.attempts).c_str());
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        context_.allowance.deadline.left(context_.now()));
    request.headers.add("x-holdfast-deadline-ms", fmt::format_int(left.count()).c_str());
    work_.add_headers(request.headers);
    return request;
}

}  // namespace holdfast::gateway
