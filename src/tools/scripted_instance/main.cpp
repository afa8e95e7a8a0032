// holdfast_scripted_instance: a scripted instance for load benchmarks. Says on standard output
// where it listens, and runs until SIGTERM or SIGINT.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>

#include "tools/scripted_instance/instance.h"

namespace holdfast::scripted_instance {
namespace {

int serve(const std::string& address) {
    const auto listener = http::listen_tcp(address);
    if (!listener) {
        fmt::print(stderr, "holdfast_scripted_instance: {}\n", listener.error().what);
        return 1;
    }
    const base::SystemClock clock;
    base::SystemEntropy entropy;
    loop::Loop loop(1);
    Instance instance(entropy);
    http::Server server(
        loop, clock, listener->get(), http::ServerLimits{},
        [&instance](http::Request request, http::Responder& responder) {
            return instance.answer(std::move(request), responder);
        },
        error_answer);
    server.start();
    asio::signal_set signals(loop, SIGTERM, SIGINT);
    signals.async_wait([&loop](const boost::system::error_code&, int) { loop.stop(); });
    fmt::print("listening on http://{}\n", http::local_address(listener->get()));
    std::fflush(stdout);
    loop.run();
    return 0;
}

}  // namespace
}  // namespace holdfast::scripted_instance

int main(int argc, char** argv) {
    CLI::App app("A scripted instance for load benchmarks", "holdfast_scripted_instance");
    std::string listen = "127.0.0.1:0";
    app.add_option("--listen", listen, "host:port; port 0 takes any free one")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    return holdfast::scripted_instance::serve(listen);
}
