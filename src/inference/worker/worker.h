// The engine behind HTTP: docs/protocol.md, section 1.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/dialect/dialect.h"
#include "common/dialect/models.h"
#include "common/http/server.h"
#include "common/telemetry/metrics.h"
#include "inference/engine/engine.h"
#include "inference/text/chat_format.h"
#include "inference/worker/bell.h"
#include "inference/worker/metrics.h"

namespace holdfast::worker {

struct Settings {
    std::string model;                             // the name that clients ask for
    std::chrono::milliseconds ping_every{10'000};  // a comment into streams that only make progress
    double tokens_per_second = 0;    // most events a second in one stream; 0: as fast as it goes
    std::uint32_t pool_threads = 2;  // parse and tokenize
    std::uint32_t preparing_max = 1024;  // requests in or before the pool; above: overloaded
};

// A model that is ready to answer.
struct Serving {
    std::shared_ptr<engine::Engine> engine;
    // Messages to the prompt's text, for /tokenize. Any thread.
    std::function<base::Result<std::string>(std::span<const chat::Message>, text::PromptEnd)>
        render;
};

// Loop thread only, unless said otherwise. Give `handler()` to an http::Server; the worker must
// outlive the loop's tasks. Before `adopt` it answers probes and refuses work with 503. What it
// holds is bounded: requests in preparation by `preparing_max`, running ones by the engine.
class Worker {
public:
    // `clock`, `entropy` and `registry` must outlive the worker, and the registry must not be
    // rendered after it.
    Worker(loop::Executor executor, const base::Clock& clock, base::Entropy& entropy,
           telemetry::Registry& registry, Settings settings);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    http::Handler handler();
    // For errors that the server finds before there is a request.
    static http::Response render_status(int status, std::string_view reason);

    void set_load_progress(double share) { load_progress_ = share; }  // any thread
    double load_progress() const { return load_progress_; }
    void adopt(Serving serving);
    bool loaded() const { return serving_.engine != nullptr; }
    const std::shared_ptr<engine::Engine>& engine() const { return serving_.engine; }

    // Refuses new work from now on. Running answers go on.
    void drain() { draining_ = true; }
    bool draining() const { return draining_; }
    std::size_t exchanges() const { return exchanges_; }  // requests whose answer is under way

    // False when the engine has had work since the last call and did not move: it hangs.
    bool moves();

    // Waits for the pool's threads, before the loop is destroyed.
    void join();

private:
    class Answer;
    struct Call;
    struct Route;

    loop::Task<void> handle(http::Request request, http::Responder& responder);
    loop::Task<void> route(Call& call);
    loop::Task<void> complete(Call& call, dialect::Found found);
    loop::Task<void> get_readiness(Call& call);
    loop::Task<void> get_health(Call& call);
    loop::Task<void> get_liveness(Call& call);
    loop::Task<void> get_metrics(Call& call);
    loop::Task<void> get_models(Call& call);
    loop::Task<void> tokenize(Call& call);
    loop::Task<void> detokenize(Call& call);
    using Conversion = base::Result<std::string> (*)(std::string_view body,
                                                     const std::string& model,
                                                     const Serving& serving);
    loop::Task<void> convert(Call& call, Conversion conversion);
    loop::Task<void> send_json(Call& call, int status, std::string body);
    loop::Task<void> send_error(Call& call, const base::Error& error);

    // Runs `work` on the pool; goes on with the caller when it is done. Overloaded if too many
    // wait.
    loop::Task<base::Result<>> off_loop(std::shared_ptr<Bell> bell, std::function<void()> work);

    base::Result<> check_ready() const;
    std::string readiness() const;
    dialect::ModelCard model_card() const;
    static const Route* find_route(std::string_view path);

    loop::Executor executor_;
    const base::Clock& clock_;
    base::Entropy& entropy_;
    telemetry::Registry& registry_;
    Settings settings_;
    Metrics metrics_;
    std::string instance_life_;
    std::int64_t started_unix_seconds_;
    Serving serving_;
    std::atomic<double> load_progress_{0};
    bool draining_ = false;
    std::size_t exchanges_ = 0;
    std::size_t preparing_ = 0;
    std::uint64_t last_progress_ = 0;
    bool had_work_ = false;
    asio::thread_pool pool_;
};

}  // namespace holdfast::worker
