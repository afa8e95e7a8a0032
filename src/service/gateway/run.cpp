// The command `holdfast gateway`: signals, the service protocols, the end.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "common/base/notify.h"
#include "common/http/server.h"
#include "common/telemetry/process.h"
#include "service/gateway/gateway.h"

namespace holdfast::gateway {

namespace {

namespace asio = boost::asio;

constexpr auto look_every = std::chrono::milliseconds(50);

int roster_from_environment() {
    const char* text = std::getenv("HOLDFAST_ROSTER_FD");
    int fd = -1;
    if (text != nullptr) std::from_chars(text, text + std::strlen(text), fd);
    return fd;
}

// Waits for signals on the main thread, answers the watchdog, and ends the process in order.
class Steward {
public:
    Steward(Gateway& gateway, base::Notifier& notifier, std::chrono::milliseconds patience)
        : gateway_(gateway), notifier_(notifier), patience_(patience) {}

    void run() {
        await_signal();
        look();
        loop_.run();
    }

private:
    void await_signal() {
        signals_.async_wait([this](const boost::system::error_code& error, int) {
            if (error) return;
            if (draining_) return loop_.stop();  // asked twice: at once
            spdlog::info("stopping: running answers may end");
            draining_ = true;
            give_up_ = std::chrono::steady_clock::now() + patience_;
            notifier_.send("STOPPING=1");
            gateway_.drain();
            await_signal();
        });
    }

    void look() {
        const auto now = std::chrono::steady_clock::now();
        const bool turning = gateway_.loops_answer();
        if (turning && alive_every_ && now >= next_alive_) {
            notifier_.send("WATCHDOG=1");
            next_alive_ = now + *alive_every_ / 4;
        }
        // A count is as old as the last question, so the first look after the signal is too early.
        looks_draining_ += draining_ ? 1 : 0;
        if (looks_draining_ > 2 && turning && gateway_.connections() == 0) return loop_.stop();
        if (draining_ && now >= give_up_) {
            spdlog::warn("stopping with {} connections still open", gateway_.connections());
            return loop_.stop();
        }
        timer_.expires_after(look_every);
        timer_.async_wait([this](const boost::system::error_code& error) {
            if (!error) look();
        });
    }

    asio::io_context loop_{1};
    asio::signal_set signals_{loop_, SIGTERM, SIGINT};
    asio::steady_timer timer_{loop_};
    Gateway& gateway_;
    base::Notifier& notifier_;
    const std::optional<std::chrono::microseconds> alive_every_ = base::watchdog_interval();
    std::chrono::milliseconds patience_;
    std::chrono::steady_clock::time_point give_up_, next_alive_;
    bool draining_ = false;
    int looks_draining_ = 0;
};

}  // namespace

base::Result<> run(Options options) {
    telemetry::Registry registry;
    telemetry::add_process_metrics(registry);
    telemetry::add_build_info(registry, HOLDFAST_VERSION, "gateway");
    if (options.add_metrics) options.add_metrics(registry);
    base::Notifier notifier = base::Notifier::from_environment();
    auto inherited = base::inherited_listener();
    base::UniqueFd listener;
    if (inherited) {
        listener = std::move(*inherited);
    } else {
        HF_TRY_ASSIGN(listener, http::listen_tcp(options.listen));
    }
    const std::string address = http::local_address(listener.get());
    const auto patience = options.drain;
    Gateway gateway(std::move(options), std::move(listener), roster_from_environment(), registry);
    gateway.start();
    spdlog::info("listening on http://{}", address);
    notifier.send(fmt::format("X_HOLDFAST_LISTEN={}", address));
    notifier.send("READY=1\nSTATUS=serving");
    Steward(gateway, notifier, patience).run();
    return {};
}

}  // namespace holdfast::gateway
