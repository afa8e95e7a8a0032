#include "tools/cli/service.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <exception>
#include <optional>

#include "common/loop/task.h"
#include "common/upstream/sse.h"

namespace holdfast::cli {
namespace {

using base::Code;
using base::fail;
using std::chrono::minutes;
using std::chrono::seconds;
using OnData = std::function<base::Result<>(std::string_view)>;

// A person's patience; Ctrl-C ends it earlier.
constexpr auto connect_max = seconds(5);
constexpr auto head_max = minutes(30);  // a request may wait for its turn
constexpr auto silence_max = minutes(10);
constexpr std::size_t message_bytes_max = 2000;

std::string request_id_line(const http::Headers& headers) {
    const auto id = headers.find("x-request-id");
    return id ? fmt::format("\n  request id: {}", printable(id->substr(0, 100))) : std::string();
}

std::string_view next_step(int status) {
    switch (status) {
        case 400:
            return "change the request as the message says";
        case 401:
        case 403:
            return "give a valid key in the variable HOLDFAST_API_KEY";
        case 404:
            return "see what the service offers with `holdfast status`";
        case 429:
            return "wait a little and try again";
        case 503:
            return "wait until an instance is ready; `holdfast status` shows their state";
        default:
            return "look at the state with `holdfast status` and at the logs in the state folder";
    }
}

std::unexpected<base::Error> refused(int status, const http::Headers& headers,
                                     std::string_view body) {
    const Code code = status >= 500 || status == 429 ? Code::unavailable : Code::invalid;
    return fail(code, "the service answers {}: {}\n  next: {}{}", status,
                error_message(status, body), next_step(status), request_id_line(headers));
}

std::unexpected<base::Error> unreachable(const base::Error& error) {
    if (error.code == Code::cancelled) return std::unexpected(error);
    return fail(Code::unavailable,
                "{}\n  next: start a service with `holdfast serve`, or name "
                "another one with --url",
                error.what);
}

std::unexpected<base::Error> broken(const http::Headers& headers, std::string_view reason) {
    return fail(Code::unavailable, "the answer broke off: {}\n  next: send it again{}", reason,
                request_id_line(headers));
}

}  // namespace

std::string error_message(int status, std::string_view body) {
    simdjson::dom::parser parser;
    simdjson::dom::element document;
    std::string_view message;
    const bool is_json = parser.parse(body.data(), body.size()).get(document) == simdjson::SUCCESS;
    if (is_json && (document["error"]["message"].get(message) == simdjson::SUCCESS ||
                    document["error"].get(message) == simdjson::SUCCESS ||
                    document["message"].get(message) == simdjson::SUCCESS))
        return printable(message.substr(0, message_bytes_max));
    const auto text = printable(body.substr(0, 200));
    return text.empty() ? fmt::format("status {} without a message", status) : text;
}

class Service::Calls {
public:
    Calls(std::string api_key, const base::Clock& clock)
        : api_key_(std::move(api_key)), clock_(clock), client_(loop_, clock) {}

    loop::Task<base::Result<std::string>> get(http::Url url, std::string path) {
        http::ClientRequest request{.path = std::move(path)};
        authorize(request);
        const auto deadlines = deadlines_for(seconds(10));
        auto exchange = co_await client_.send(url, std::move(request), deadlines);
        if (!exchange) co_return unreachable(exchange.error());
        const base::Deadline deadline = base::Deadline::after(clock_, seconds(10));
        auto body = co_await (*exchange)->read_all(deadline);
        if (!body) co_return broken((*exchange)->headers(), body.error().what);
        const int status = (*exchange)->status();
        if (status != 200) co_return refused(status, (*exchange)->headers(), *body);
        co_return *std::move(body);
    }

    // `on_data` outlives the task: the caller runs the loop until it has ended.
    loop::Task<base::Result<>> stream(http::Url url, std::string path, std::string body,
                                      const OnData& on_data) {
        http::ClientRequest request{
            .method = "POST", .path = std::move(path), .body = std::move(body)};
        request.headers.add("content-type", "application/json");
        request.headers.add("accept", "text/event-stream");
        authorize(request);
        const auto deadlines = deadlines_for(head_max);
        auto sent = co_await client_.send(url, std::move(request), deadlines);
        if (!sent) co_return unreachable(sent.error());
        http::ClientExchange& exchange = **sent;
        if (exchange.status() != 200) {
            const base::Deadline deadline = base::Deadline::after(clock_, seconds(10));
            auto text = co_await exchange.read_all(deadline);
            co_return refused(exchange.status(), exchange.headers(), text ? *text : "");
        }
        upstream::SseParser parser;
        while (true) {
            const base::Deadline deadline = base::Deadline::after(clock_, silence_max);
            auto piece = co_await exchange.read_some(deadline);
            if (!piece && piece.error().code == Code::cancelled)
                co_return std::unexpected(piece.error());
            if (!piece) co_return broken(exchange.headers(), piece.error().what);
            if (piece->empty()) co_return broken(exchange.headers(), "it has no proper end");
            parser.feed(*piece);
            auto is_done = take_events(parser, on_data);
            if (!is_done) {
                is_done.error().what += request_id_line(exchange.headers());
                co_return std::unexpected(is_done.error());
            }
            if (*is_done) co_return base::Result<>();
        }
    }

    // Runs the loop until the task has ended. An interrupt, if given, cancels the task.
    template <class T>
    base::Result<T> run(loop::Task<base::Result<T>> task, Interrupt* interrupt = nullptr) {
        std::optional<base::Result<T>> result;
        bool interrupted = false;
        asio::cancellation_signal cancel;
        asio::posix::basic_stream_descriptor<loop::Executor> signals(loop_);
        if (interrupt != nullptr) {
            signals.assign(interrupt->fd());
            signals.async_wait(signals.wait_read, [&](boost::system::error_code error) {
                interrupted = !error;
                if (!error) cancel.emit(asio::cancellation_type::terminal);
            });
        }
        const auto ended = [&](const std::exception_ptr& failure, base::Result<T> outcome) {
            if (!failure) result = std::move(outcome);
            loop_.stop();  // the client's idle connections may have timers
        };
        loop_.restart();
        asio::co_spawn(loop_, std::move(task), asio::bind_cancellation_slot(cancel.slot(), ended));
        loop_.run();
        if (interrupt != nullptr) {
            signals.release();
            interrupt->take();
            loop_.restart();
            loop_.poll();  // lets the cancelled wait end while its captures live
        }
        if (interrupted) return fail(Code::cancelled, "stopped");
        if (!result) return fail(Code::internal, "the call ended without a result");
        return *std::move(result);
    }

private:
    void authorize(http::ClientRequest& request) const {
        if (!api_key_.empty()) request.headers.add("authorization", "Bearer " + api_key_);
    }
    http::ClientDeadlines deadlines_for(base::Duration head) const {
        return {base::Deadline::after(clock_, connect_max), base::Deadline::after(clock_, head)};
    }

    // True at the end of the stream.
    static base::Result<bool> take_events(upstream::SseParser& parser, const OnData& on_data) {
        while (true) {
            HF_TRY_ASSIGN(const auto event, parser.next());
            if (!event) return false;
            if (event->data == "[DONE]") return true;
            HF_TRY(on_data(event->data));
        }
    }

    std::string api_key_;
    const base::Clock& clock_;
    loop::Loop loop_{1};
    http::Client client_;
};

Service::Service(http::Url url, std::string api_key, const base::Clock& clock)
    : url_(std::move(url)), calls_(std::make_unique<Calls>(std::move(api_key), clock)) {}

Service::~Service() = default;

base::Result<std::string> Service::get(std::string path) {
    return calls_->run(calls_->get(url_, std::move(path)));
}

base::Result<> Service::stream(std::string path, std::string body, Interrupt& interrupt,
                               const OnData& on_data) {
    return calls_->run(calls_->stream(url_, std::move(path), std::move(body), on_data), &interrupt);
}

}  // namespace holdfast::cli
