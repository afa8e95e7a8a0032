#include "service/gateway/relay.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/loop/sleep.h"
#include "service/gateway/loss.h"

namespace holdfast::gateway {

namespace {

// How long a begun answer leaves instances alone that were all at their limit.
constexpr auto pause_when_busy = std::chrono::milliseconds(250);

// A worker that ends work at our own deadline is not at fault.
base::Error excused(base::Error error) {
    if (error.tag == "deadline_exceeded") error.origin = base::Origin::self;
    return error;
}

}  // namespace

Relay::Relay(Lane& lane, const chat::Request& request, const dialect::Dialect& dialect,
             dialect::AnswerHead head, http::Responder& responder, std::string_view request_id,
             Journal::EntryId entry, base::Instant arrived, base::Deadline deadline,
             ModelMetrics& metrics)
    : lane_(lane),
      request_(request),
      dialect_(dialect),
      head_(std::move(head)),
      encoder_((request.stream ? dialect.stream_encoder : dialect.whole_encoder)(request, head_)),
      responder_(responder),
      request_id_(request_id),
      entry_(entry),
      arrived_(arrived),
      last_event_(arrived),
      last_write_(arrived),
      deadline_(deadline),
      choices_(request.choices),
      metrics_(metrics) {}

loop::Task<base::Result<>> Relay::run() {
    const base::Deadline patience =
        base::Deadline::after(lane_.clock, lane_.options.timeouts.place).sooner(deadline_);
    for (;;) {
        const base::Instant asked = lane_.clock.now();
        auto placed = lane_.fleet.place_now(need());
        if (!placed || (!*placed && anything_delivered()))
            placed.emplace(co_await wait_for_seat(patience));
        record_.queued += lane_.clock.now() - asked;
        if (!*placed) co_return std::unexpected(interrupted(placed->error()));
        const Placed& seat = **placed;
        note_placed(seat.instance());

        const std::uint32_t before = lane_.journal.count(entry_) + external_events_;
        AttemptEnd end = co_await attempt(seat);
        if (end) {
            lane_.fleet.report(seat, fleet::Outcome::ok);
            co_return base::Result<>{};
        }
        if (responder_.client_gone() || end.error().error.code == base::Code::cancelled)
            co_return base::fail(base::Code::cancelled, "the client has gone");
        // Neither the client's own haste nor our own trouble is the instance's fault.
        if (end.error().error.origin != base::Origin::instance ||
            deadline_.passed(lane_.clock.now()))
            co_return std::unexpected(interrupted(end.error().error));
        lane_.fleet.report(seat, end.error().outcome);
        if (end.error().outcome == fleet::Outcome::busy) busy_.push_back(seat.instance().id);
        spdlog::warn("{}: attempt {} at instance {} ended: {}", request_id_, record_.attempts,
                     seat.instance().id, end.error().error.what);
        if (auto go_on = co_await pace(end.error(), before); !go_on) co_return go_on;
    }
}

// An answer that has begun waits longer than one that has not, also for an instance that has no
// room now; its stream is kept alive.
loop::Task<base::Result<Placed>> Relay::wait_for_seat(base::Deadline patience) {
    if (!anything_delivered()) co_return co_await lane_.fleet.place(need(), patience);
    const base::Deadline until =
        base::Deadline::after(lane_.clock, lane_.options.timeouts.resume).sooner(deadline_);
    for (;;) {
        const auto ping = base::Deadline::after(lane_.clock, lane_.options.ping_every);
        auto placed = co_await lane_.fleet.place(need(), ping.sooner(until));
        if (placed || until.passed(lane_.clock.now())) co_return placed;
        if (placed.error().tag == "overloaded") {
            busy_.clear();
            co_await loop::sleep_for(pause_when_busy);
        } else if (placed.error().tag != "no_ready_instance") {
            co_return placed;
        }
        if (responder_.client_gone())
            co_return base::fail(base::Code::cancelled, "the client has gone");
        if (!request_.stream) continue;
        if (auto written = co_await flush(); !written)
            co_return std::unexpected(std::move(written).error());
    }
}

// A running answer goes on where its bits, or at least its text, can go on.
Need Relay::need() const {
    Need need{.model = request_.model, .last = record_.last_instance, .busy = busy_};
    if (lane_.journal.count(entry_) > 0) need.fingerprint = fingerprint_;
    if (external_events_ > 0) need.text = &request_;
    return need;
}

// Decides whether another attempt is made, and waits until the retry budget allows it.
loop::Task<base::Result<>> Relay::pace(const Loss& loss, std::uint32_t delivered_before) {
    const bool fruitful = lane_.journal.count(entry_) + external_events_ > delivered_before;
    fruitless_ = fruitful ? 0 : fruitless_ + (loss.outcome == fleet::Outcome::busy ? 0 : 1);
    if (fruitless_ >= lane_.options.fruitless_attempts_max)
        co_return std::unexpected(interrupted(loss.error));
    if (anything_delivered() && record_.guarantee == Guarantee::restart) {
        if (request_.stream) co_return std::unexpected(interrupted(loss.error));
        forget();
    }
    lane_.metrics.retry(base::name(loss.error.code));
    if (anything_delivered()) lane_.metrics.failover(record_.guarantee);
    while (!lane_.budget.withdraw()) {
        if (deadline_.passed(lane_.clock.now()) || responder_.client_gone())
            co_return std::unexpected(interrupted(loss.error));
        co_await loop::sleep_for(std::chrono::milliseconds(50));
    }
    co_return base::Result<>{};
}

// Nothing has been sent of a whole answer, so it can begin again from nothing.
void Relay::forget() {
    encoder_ = dialect_.whole_encoder(request_, head_);
    choices_.assign(request_.choices, {});
    external_events_ = 0;
    out_.clear();
}

loop::Task<Relay::AttemptEnd> Relay::attempt(const Placed& placed) {
    ++record_.attempts;
    lane_.journal.set_attempt(entry_, record_.attempts);
    external_before_ = external_events_;
    external_ = placed.instance().kind != upstream::InstanceKind::holdfast;
    http::Abort abort;
    const FleetView::Watch watch(lane_.fleet, placed, abort);
    auto upstream = co_await call(placed, abort);
    if (!upstream) co_return std::unexpected(std::move(upstream).error());
    AttemptEnd end = co_await read_events(**upstream, placed.instance().kind, abort);
    if (!end) co_return end;
    if (auto sent = co_await finish(); !sent)
        co_return std::unexpected(Loss{std::move(sent).error()});
    co_return AttemptEnd{};
}

loop::Task<std::expected<std::unique_ptr<http::Exchange>, Relay::Loss>> Relay::call(
    const Placed& placed, http::Abort& abort) {
    const Timeouts& timeouts = lane_.options.timeouts;
    const http::ClientDeadlines deadlines{
        base::Deadline::after(lane_.clock, timeouts.connect).sooner(deadline_),
        base::Deadline::after(lane_.clock, timeouts.first_token).sooner(deadline_)};
    auto sent = co_await lane_.client.send(placed.instance().url,
                                           upstream_request(placed.instance()), deadlines, &abort);
    if (!sent) {
        base::Error error = std::move(sent).error();
        if (abort.triggered()) error = lost("the instance was found dead or hung");
        const fleet::Outcome outcome = judge(error);
        if (error.code == base::Code::deadline) error = lost("the instance did not answer in time");
        co_return std::unexpected(Loss{std::move(error), outcome});
    }
    std::unique_ptr<http::Exchange> upstream = *std::move(sent);
    if (upstream->status() == 200) {
        if (!anything_delivered())
            fingerprint_ = upstream->headers().find("x-holdfast-fingerprint").value_or("");
        co_return upstream;
    }
    auto body = co_await upstream->read_all(deadlines.response_head);
    base::Error error = body ? excused(upstream::read_upstream_error(upstream->status(), *body))
                             : std::move(body).error();
    const fleet::Outcome outcome =
        judge(error) == fleet::Outcome::lost ? fleet::Outcome::sick : judge(error);
    co_return std::unexpected(Loss{std::move(error), outcome});
}

loop::Task<Relay::AttemptEnd> Relay::read_events(http::Exchange& upstream,
                                                 upstream::InstanceKind kind,
                                                 const http::Abort& abort) {
    upstream::SseParser events;
    upstream::UpstreamReader reader(kind, choices_.front().delivered);
    const Timeouts& timeouts = lane_.options.timeouts;
    // Comments keep a connection alive; only events keep a deadline away.
    base::Deadline silence = base::Deadline::after(lane_.clock, timeouts.first_token);
    for (bool heard = false, done = false; !done;) {
        auto piece = co_await upstream.read_some(silence.sooner(deadline_));
        if (!piece) {
            base::Error error = std::move(piece).error();
            if (abort.triggered()) error = lost("the instance was found dead or hung");
            // Without a first token it may just have too much to do; one that stops is sick.
            const bool slow = error.code == base::Code::deadline && !heard;
            const fleet::Outcome outcome = slow ? fleet::Outcome::busy : judge(error);
            if (error.code == base::Code::deadline) error = lost("the instance fell silent");
            co_return std::unexpected(Loss{std::move(error), outcome});
        }
        if (piece->empty()) {  // external servers may end without [DONE]
            if (external_ && all_finished()) co_return AttemptEnd{};
            co_return std::unexpected(Loss{lost("the answer ended early"), fleet::Outcome::lost});
        }
        events.feed(*piece);
        bool said = false;
        for (;;) {
            auto event = events.next();
            if (!event)
                co_return std::unexpected(Loss{std::move(event).error(), fleet::Outcome::sick});
            if (!*event) break;
            auto taken = take((*event)->data, reader);
            if (!taken) co_return std::unexpected(std::move(taken).error());
            done = done || *taken;
            said = heard = true;
        }
        // The last events leave together with the end.
        if (done || !request_.stream) continue;
        if (auto written = co_await flush(); !written)
            co_return std::unexpected(Loss{std::move(written).error()});
        // Counted from here: a client that is slow to read is not the instance's silence.
        if (said) silence = base::Deadline::after(lane_.clock, timeouts.token_gap);
    }
    co_return AttemptEnd{};
}

std::expected<bool, Relay::Loss> Relay::take(std::string_view data,
                                             upstream::UpstreamReader& reader) {
    auto read = reader.read(data);
    if (!read) {
        const fleet::Outcome outcome = read.error().origin == base::Origin::instance
                                           ? fleet::Outcome::sick
                                           : fleet::Outcome::ok;
        return std::unexpected(Loss{excused(std::move(read).error()), outcome});
    }
    choices_.front().delivered.server_splits |= reader.server_splits();
    if (read->event)
        if (auto delivered = deliver(*read->event); !delivered)
            return std::unexpected(Loss{std::move(delivered).error()});
    return read->done;
}

// Journals, then encodes. Nothing is sent before its ids are in the journal.
base::Result<> Relay::deliver(chat::Event& event) {
    if (event.choice >= choices_.size())
        return std::unexpected(base::Error{base::Code::corrupt,
                                           "the instance answered a choice that was not asked for",
                                           base::Origin::instance, base::Retry::elsewhere});
    Choice& choice = choices_[event.choice];
    if (choice.finished) {  // said again by a replay
        event.finish.reset();
        event.ids.clear();
    }
    HF_TRY(lane_.journal.append(entry_, event.choice, event.ids));
    if (external_) {
        choice.delivered.reasoning += event.reasoning;
        choice.delivered.content += event.content;
        if (!event.reasoning.empty() || !event.content.empty()) ++external_events_;
    }
    if (event.finish) {
        choice.finished = true;
        if (event.choice == 0) record_.finish = chat::name(*event.finish);
    }
    if (event.usage) {
        event.usage = total_usage(*event.usage);
        record_.usage = event.usage;
    }
    note_times(event);
    const bool says_something = !event.ids.empty() || !event.reasoning.empty() ||
                                !event.content.empty() || event.finish || event.usage;
    if (says_something) encoder_->event(event, out_);
    return {};
}

// A continuation counts what came before as prompt; the client sees one answer.
chat::Usage Relay::total_usage(const chat::Usage& reported) const {
    chat::Usage usage = reported;
    usage.completion_tokens += external_before_;
    usage.prompt_tokens -= std::min(usage.prompt_tokens, external_before_);
    return usage;
}

void Relay::note_times(const chat::Event& event) {
    const base::Instant now = lane_.clock.now();
    const auto seconds = [](base::Duration time) {
        return std::chrono::duration<double>(time).count();
    };
    if (event.ids.empty() && event.reasoning.empty() && event.content.empty()) return;
    if (record_.first_token == base::Duration::zero()) {
        record_.first_token = now - arrived_;
        metrics_.first_token.observe(seconds(record_.first_token));
    } else {
        metrics_.token_gap.observe(seconds(now - last_event_));
    }
    if (!event.content.empty() && record_.first_answer_token == base::Duration::zero()) {
        record_.first_answer_token = now - arrived_;
        metrics_.first_answer_token.observe(seconds(record_.first_answer_token));
    }
    last_event_ = now;
}

void Relay::note_placed(const fleet::Instance& instance) {
    if (record_.attempts == 0) record_.first_instance = instance.id;
    record_.last_instance = instance.id;
    if (!anything_delivered()) record_.guarantee = guarantee_at(instance);
}

Guarantee Relay::guarantee_at(const fleet::Instance& instance) const {
    if (instance.kind == upstream::InstanceKind::holdfast) return Guarantee::exact;
    return upstream::can_continue(instance.kind, request_) ? Guarantee::same_model
                                                           : Guarantee::restart;
}

// What is left to ask for after a part of the answer has been delivered.
chat::Request Relay::continued_request(upstream::InstanceKind kind) const {
    chat::Request request = request_;
    if (kind == upstream::InstanceKind::holdfast) {
        request.resume = chat::Resume{lane_.journal.delivered(entry_, request_.choices)};
    } else if (request.stopping.max_tokens) {
        *request.stopping.max_tokens -=
            std::min(external_events_, *request.stopping.max_tokens - 1);
    }
    return request;
}

http::ClientRequest Relay::upstream_request(const fleet::Instance& instance) const {
    const auto encode = [&](const chat::Request& request) {
        return upstream::encode_upstream(request, instance.kind, instance.upstream_model,
                                         choices_.front().delivered);
    };
    upstream::UpstreamCall call =
        anything_delivered() ? encode(continued_request(instance.kind)) : encode(request_);
    http::ClientRequest upstream{"POST", std::move(call.path), {}, std::move(call.body)};
    upstream.headers.reserve(5);
    upstream.headers.add("Content-Type", "application/json");
    upstream.headers.add("x-request-id", request_id_);
    upstream.headers.add("x-holdfast-attempt", fmt::format_int(record_.attempts).str());
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_.left(lane_.clock.now()));
    upstream.headers.add("x-holdfast-deadline-ms", fmt::format_int(left.count()).str());
    if (lane_.journal.count(entry_) > 0)
        upstream.headers.add("x-holdfast-fingerprint", fingerprint_);
    return upstream;
}

// For a stream: writes what is encoded; the first write brings the head along. A client that is
// slow to read pauses the relay here, and through the unread socket the instance.
loop::Task<base::Result<>> Relay::flush() {
    const base::Instant now = lane_.clock.now();
    if (out_.empty() && now - last_write_ >= lane_.options.ping_every) out_ = ": ping\n\n";
    if (out_.empty()) co_return base::Result<>{};
    start_stream();
    last_write_ = now;
    auto written = co_await responder_.write(out_);
    out_.clear();
    co_return written;
}

void Relay::start_stream() {
    if (std::exchange(record_.head_sent, true)) return;
    http::Headers headers;
    headers.reserve(6);
    headers.add("Content-Type", std::string(dialect_.stream_content_type));
    headers.add("Cache-Control", "no-cache");
    headers.add("X-Accel-Buffering", "no");
    headers.add("x-request-id", request_id_);
    headers.add("x-holdfast-instance", record_.first_instance);
    headers.add("x-holdfast-resume", std::string(name(record_.guarantee)));
    responder_.start(200, std::move(headers));
}

loop::Task<base::Result<>> Relay::finish() {
    encoder_->end(out_);
    if (request_.stream) {
        start_stream();
        co_return co_await responder_.finish(out_);
    }
    http::Response response;
    response.headers.reserve(5);
    response.headers.add("Content-Type", "application/json");
    response.headers.add("x-request-id", request_id_);
    response.headers.add("x-holdfast-instance", record_.first_instance);
    response.headers.add("x-holdfast-attempts", fmt::format_int(record_.attempts).str());
    response.headers.add("x-holdfast-resume", std::string(name(record_.guarantee)));
    response.body = std::move(out_);
    record_.head_sent = true;
    co_return co_await responder_.send(std::move(response));
}

loop::Task<base::Result<>> Relay::end_with(const base::Error& error) {
    encoder_->error(error, out_);
    co_return co_await responder_.finish(out_);
}

bool Relay::all_finished() const { return std::ranges::all_of(choices_, &Choice::finished); }

bool Relay::anything_delivered() const {
    return lane_.journal.count(entry_) > 0 || external_events_ > 0;
}

// The deadline's own error wins over whatever the deadline interrupted.
base::Error Relay::interrupted(const base::Error& cause) const {
    if (cause.origin == base::Origin::client || cause.code == base::Code::cancelled) return cause;
    if (deadline_.passed(lane_.clock.now()) && record_.attempts > 0)
        return {base::Code::deadline,
                "The answer was not complete before the request's deadline.",
                base::Origin::self,
                base::Retry::no,
                "",
                "deadline_exceeded"};
    return cause;
}

}  // namespace holdfast::gateway
