#include "service/gateway/reply.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::gateway {

Reply::Reply(Context& context, const chat::Request& request, const dialect::Dialect& dialect,
             dialect::AnswerHead head)
    : context_(context),
      request_(request),
      dialect_(dialect),
      head_(std::move(head)),
      pulse_(context.lane.pulse),
      framing_(dialect.framing(request.presentation)),
      encoder_(dialect.make_encoder(request, head_)),
      last_write_(context.arrived) {
    const Pings& pings = context.allowance.pings;
    if (request.presentation.stream) {
        pulse_->watch(*this, base::Deadline(last_write_ + pings.every));
    } else if (pings.whole_after > std::chrono::milliseconds::zero()) {
        pulse_->watch(*this, base::Deadline(last_write_ + pings.whole_after));
    }
}

void Reply::accepted() {
    const Pings& pings = context_.allowance.pings;
    if (request_.presentation.stream && !context_.record.head_sent)
        pulse_->watch(*this, base::Deadline(std::min(context_.now() + pings.head_after,
                                                     last_write_ + pings.every)));
}

// Nothing has been written for a while.
void Reply::expired() {
    const base::Duration every = context_.allowance.pings.every;
    const base::Instant now = context_.now();
    if (!context_.record.head_sent || now - last_write_ >= every) {
        start();
        last_write_ = now;
        if (!framing_.ping.empty()) context_.responder.nudge(framing_.ping);
        sent_.wire = context_.responder.bytes_sent();
        context_.lane.journal.set_sent(*context_.entry, sent_);
    }
    pulse_->watch(*this, base::Deadline(last_write_ + every));
}

void Reply::event(const chat::Event& event) { encoder_->event(event, out_); }

void Reply::restart() {
    encoder_ = dialect_.make_encoder(request_, head_);
    out_.clear();
}

void Reply::start() {
    Record& record = context_.record;
    if (std::exchange(record.head_sent, true)) return;
    http::Headers headers;
    headers.add("Content-Type", framing_.content_type);
    headers.add("Cache-Control", "no-cache");
    headers.add("X-Accel-Buffering", "no");
    headers.add("x-request-id", context_.request_id);
    if (record.attempts > 0) {  // else the client waits for an instance
        headers.add("x-holdfast-instance", record.first_instance);
        headers.add("x-holdfast-resume", name(*record.guarantee));
    }
    context_.responder.start(200, std::move(headers));
    context_.lane.journal.set_framing(*context_.entry, context_.responder.framing());
}

void Reply::drop_skipped() {
    const std::size_t known = std::min<std::uint64_t>(to_skip_, out_.size());
    out_.erase(0, known);
    to_skip_ -= known;
    sent_.answer += known;
}

loop::Task<base::Result<>> Reply::flush() {
    drop_skipped();
    if (out_.empty()) co_return base::Result<>{};
    start();
    last_write_ = context_.now();
    Journal& journal = context_.lane.journal;
    sent_.under_way = out_.size();
    journal.set_sent(*context_.entry, sent_);
    auto written = co_await context_.responder.write(out_);
    sent_ = {sent_.answer + (written ? out_.size() : 0), context_.responder.bytes_sent(), 0};
    journal.set_sent(*context_.entry, sent_);
    out_.clear();
    co_return written;
}

loop::Task<base::Result<>> Reply::finish() {
    encoder_->end(out_);
    drop_skipped();
    if (request_.presentation.stream || context_.record.head_sent) return end_stream();
    return send_whole();
}

loop::Task<base::Result<>> Reply::end_stream() {
    start();
    pulse_->clear(*this);
    sent_.under_way = out_.size();
    context_.lane.journal.set_sent(*context_.entry, sent_);
    return context_.responder.finish(out_);
}

loop::Task<base::Result<>> Reply::send_whole() {
    pulse_->clear(*this);
    Record& record = context_.record;
    record.head_sent = true;
    context_.lane.journal.set_framing(*context_.entry, http::Framing::length);
    http::Response response;
    response.headers.add("Content-Type", framing_.content_type);
    response.headers.add("x-request-id", context_.request_id);
    response.headers.add("x-holdfast-instance", record.first_instance);
    response.headers.add("x-holdfast-attempts", fmt::format_int(record.attempts).c_str());
    response.headers.add("x-holdfast-resume", name(*record.guarantee));
    response.body = std::move(out_);
    sent_.under_way = response.body.size();
    context_.lane.journal.set_sent(*context_.entry, sent_);
    return context_.responder.send(std::move(response));
}

loop::Task<base::Result<>> Reply::end_with(const base::Error& error) {
    encoder_->error(error, out_);
    drop_skipped();
    return end_stream();
}

}  // namespace holdfast::gateway
