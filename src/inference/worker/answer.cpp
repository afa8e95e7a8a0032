#include "inference/worker/answer.h"

#include <spdlog/spdlog.h>

#include <cmath>

#include "common/http/request_rules.h"
#include "common/loop/sleep.h"
#include "common/telemetry/access.h"

namespace holdfast::worker {
namespace {

// What one write takes at most from the stream before the client gets it.
constexpr std::size_t write_bytes = 64 * 1024;

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::chrono::milliseconds milliseconds(base::Duration duration) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(duration);
}

base::Error not_found(const std::string& model) {
    return base::Error{base::Code::not_found,
                       fmt::format("The model `{}` does not exist.", model),
                       base::Origin::client,
                       base::Retry::no,
                       "model",
                       "model_not_found"};
}

}  // namespace

Worker::Answer::Answer(Worker& worker, Call& call, const dialect::Dialect& dialect,
                       const dialect::Route& route)
    : worker_(worker),
      call_(call),
      dialect_(dialect),
      route_(route),
      bell_(std::make_shared<Bell>(worker.executor_)) {}

Worker::Answer::~Answer() {
    if (!ended_ && !error_) call_.finish = call_.responder.client_gone() ? "cancelled" : "error";
    if (usage_) worker_.metrics_.reasoning_tokens.add(usage_->reasoning_tokens);
    worker_.metrics_.duration.observe(seconds(worker_.clock_.now() - call_.arrived));
    log();
}

void Worker::Answer::log() const {
    telemetry::AccessRecord record;
    record.request_id = call_.request_id;
    record.peer = call_.request.peer;
    record.method = call_.request.method;
    record.path = call_.endpoint;
    record.model = worker_.settings_.model;
    record.status = call_.status;
    record.error = call_.error_tag;
    record.finish = call_.finish;
    record.attempts = read_attempt(call_.request.headers);
    record.client_gone = !ended_ && call_.responder.client_gone();
    if (usage_) {
        record.prompt_tokens = usage_->prompt_tokens;
        record.completion_tokens = usage_->completion_tokens;
        record.reasoning_tokens = usage_->reasoning_tokens;
    }
    if (first_token_) record.first_token_ms = milliseconds(*first_token_);
    record.total_ms = milliseconds(worker_.clock_.now() - call_.arrived);
    telemetry::log_access(record);
}

base::Result<> Worker::Answer::check_headers() {
    const http::Headers& headers = call_.request.headers;
    HF_TRY(worker_.check_ready());
    HF_TRY(http::check_json_body(headers));
    HF_TRY(check_fingerprint(headers, worker_.serving_.engine->fingerprint()));
    HF_TRY_ASSIGN(deadline_, read_deadline(headers, call_.arrived));
    return {};
}

base::Result<> Worker::Answer::submit(engine::Engine& engine) {
    HF_TRY_ASSIGN(chat::Request request, route_.parse(call_.request.body));
    call_.request.body = std::string();  // not needed again, and perhaps large
    if (request.model != worker_.settings_.model) return std::unexpected(not_found(request.model));
    presentation_ = request.presentation;
    last_tokens_.resize(request.generation.choices);
    // A gateway knows it from the head, and reads every chunk.
    if (presentation_.want_ids) head_.fingerprint.clear();
    encoder_ = dialect_.make_encoder(request, head_);
    progress_ = engine.stats().progress;
    HF_TRY_ASSIGN(stream_, engine.submit(std::move(request.generation), deadline_,
                                         [bell = bell_] { bell->ring(); }));
    return {};
}

loop::Task<void> Worker::Answer::run() {
    auto checked = check_headers();
    if (checked) {
        head_ = {std::string(dialect_.id_prefix) + base::random_hex(worker_.entropy_, 12),
                 worker_.clock_.unix_seconds(), worker_.settings_.model,
                 worker_.serving_.engine->fingerprint()};
        base::Result<> submitted;
        std::function<void()> work = [this, &submitted, engine = worker_.serving_.engine] {
            submitted = submit(*engine);
        };
        checked = co_await worker_.off_loop(bell_, std::move(work));
        if (checked) checked = std::move(submitted);
    }
    if (!checked) {
        co_await refuse(std::move(checked).error());
        co_return;
    }
    if (call_.responder.client_gone()) co_return;
    if (presentation_.stream) {
        co_await write_stream();
    } else {
        co_await write_whole();
    }
}

loop::Task<void> Worker::Answer::refuse(base::Error error) {
    call_.finish = "error";
    error_ = error;
    co_await worker_.send_error(call_, error);
}

// Encodes what the engine has to say by now.
Worker::Answer::Step Worker::Answer::collect() {
    while (out_.size() < write_bytes) {
        auto next = stream_->next();
        if (!next) {
            error_ = std::move(next).error();
            return Step::failed;
        }
        if (!*next) return Step::waiting;
        chat::Event& event = **next;
        // A request for ids is a gateway's, whose answers must not show where they were made.
        if (event.usage && presentation_.want_ids) event.usage->cached_tokens = 0;
        observe(event);
        encoder_->event(event, out_);
        if (event.usage) return Step::finished;
        if (presentation_.stream && worker_.settings_.tokens_per_second > 0) return Step::paced;
    }
    return Step::more;
}

void Worker::Answer::observe(const chat::Event& event) {
    if (event.finish) call_.finish = chat::name(*event.finish);
    if (event.usage) usage_ = event.usage;
    if (event.ids.empty()) return;
    const base::Instant now = worker_.clock_.now();
    if (!std::exchange(has_tokens_, true)) {
        first_token_ = now - call_.arrived;
        worker_.metrics_.first_token.observe(seconds(*first_token_));
    }
    base::Instant& last = last_tokens_.at(event.choice);
    if (last != base::Instant()) worker_.metrics_.token_gap.observe(seconds(now - last));
    last = now;
}

http::Headers Worker::Answer::headers(std::string_view content_type) const {
    http::Headers headers;
    headers.add("Content-Type", std::string(content_type));
    headers.add("x-request-id", call_.request_id);
    headers.add("x-holdfast-fingerprint", worker_.serving_.engine->fingerprint());
    return headers;
}

// The head of a stream waits for its first byte, so that an early error still is a plain one.
void Worker::Answer::start() {
    if (std::exchange(started_, true)) return;
    http::Headers fields = headers(dialect_.stream.content_type);
    fields.add("Cache-Control", "no-cache");
    fields.add("X-Accel-Buffering", "no");
    call_.status = 200;
    call_.responder.start(200, std::move(fields));
}

// The engine has worked since the last call. Only then a ping is worth sending: whoever hears one
// may go on waiting, however long the prompt is.
bool Worker::Answer::moved() {
    const std::uint64_t progress = worker_.serving_.engine->stats().progress;
    return std::exchange(progress_, progress) != progress;
}

loop::Task<void> Worker::Answer::write_stream() {
    const base::Duration ping_every =
        read_ping_every(call_.request.headers, worker_.settings_.ping_every);
    base::Instant last_write = worker_.clock_.now();
    while (!call_.responder.client_gone()) {
        out_.clear();
        const Step step = collect();
        if (step == Step::failed) {
            if (!started_ && !has_tokens_) {
                co_await refuse(*error_);
                co_return;
            }
            call_.finish = "error";
            call_.error_tag = error_->tag;
            start();
            encoder_->error(*error_, out_);
            co_await call_.responder.finish(out_);
            co_return;
        }
        if (step == Step::finished) {
            start();
            encoder_->end(out_);
            const auto written = co_await call_.responder.finish(out_);
            ended_ = written.has_value();
            co_return;
        }
        const base::Duration silence = worker_.clock_.now() - last_write;
        if (out_.empty() && silence >= ping_every && moved()) out_ = dialect_.stream.ping;
        if (!out_.empty()) {
            start();
            const auto written = co_await call_.responder.write(out_);
            if (!written) co_return;
            last_write = worker_.clock_.now();
            if (step == Step::waiting) co_await bell_->wait(ping_every);
            if (step == Step::paced) {
                const std::chrono::duration<double> gap(1 / worker_.settings_.tokens_per_second);
                co_await loop::sleep_for(std::chrono::duration_cast<base::Duration>(gap));
            }
        } else if (step == Step::waiting) {
            co_await bell_->wait(silence < ping_every ? ping_every - silence : ping_every);
        }
    }
}

loop::Task<void> Worker::Answer::write_whole() {
    while (!call_.responder.client_gone()) {
        const Step step = collect();
        if (step == Step::failed) {
            co_await refuse(*error_);
            co_return;
        }
        if (step == Step::finished) {
            http::Response response;
            response.headers = headers(dialect_.whole.content_type);
            encoder_->end(response.body);
            call_.status = 200;
            const auto written = co_await call_.responder.send(std::move(response));
            ended_ = written.has_value();
            co_return;
        }
        co_await bell_->wait(worker_.settings_.ping_every);
    }
}

}  // namespace holdfast::worker
