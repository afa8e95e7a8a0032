#include "inference/worker/run.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <optional>
#include <thread>

#include "common/base/notify.h"
#include "common/http/server.h"
#include "common/loop/sleep.h"
#include "common/telemetry/process.h"
#include "inference/model/model.h"
#include "inference/text/chat_format.h"
#include "inference/text/tokenizer.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {
namespace {

constexpr std::chrono::milliseconds tick{250};
// After the last answer clients get this long to take its bytes and to close.
constexpr std::chrono::seconds farewell{1};

struct Loaded {
    std::unique_ptr<engine::Engine> engine;
    text::ChatTemplate chat_template;
};

base::Result<Loaded> load(const Options& options, const base::Clock& clock,
                          std::function<void(double)> on_progress) {
    HF_TRY_ASSIGN(auto chat_template,
                  text::ChatTemplate::load(options.model_path, options.chat_template));
    model::LoadOptions load_options;
    load_options.threads = options.threads;
    load_options.placement = options.placement;
    load_options.kv_tokens = options.kv_tokens;
    load_options.batch_tokens_max = options.batch_tokens_max;
    load_options.isa = options.isa;
    HF_TRY_ASSIGN(load_options.weights, model::parse_weights(options.weights));
    HF_TRY_ASSIGN(load_options.kv_type, model::parse_kv_type(options.kv_type));
    HF_TRY_ASSIGN(load_options.native_numerics, model::parse_native_numerics(options.numerics));
    load_options.on_progress = std::move(on_progress);
    HF_TRY_ASSIGN(auto model, model::load(options.model_path, load_options));
    const auto vocab = static_cast<chat::TokenId>(model->shape().vocab);
    HF_TRY_ASSIGN(auto tokenizer, text::load_tokenizer(options.model_path, vocab));
    auto engine = engine::make_engine(std::move(model), std::move(tokenizer), chat_template,
                                      options.engine, clock);
    return Loaded{std::move(engine), std::move(chat_template)};
}

// One worker process. Everything but `load` and the engine's end runs on the loop's thread, which
// is the one that calls `serve`.
class Process {
public:
    explicit Process(Options options)
        : options_(std::move(options)),
          notifier_(base::Notifier::from_environment()),
          watchdog_(base::watchdog_interval()),
          loop_(std::make_unique<loop::Loop>(1)),
          worker_(loop_->get_executor(), clock_, entropy_, registry_, settings()),
          signals_(std::in_place, loop_->get_executor(), SIGTERM, SIGINT) {
        telemetry::add_process_metrics(registry_);
        telemetry::add_build_info(registry_, options_.version, "worker");
        if (options_.add_metrics) options_.add_metrics(registry_);
    }

    // What holds streams and timers goes before the engine and after the threads that post to it.
    ~Process() {
        if (loader_.joinable()) loader_.join();
        if (stopper_.joinable()) stopper_.join();
        if (worker_.engine()) worker_.engine()->stop(base::Deadline(clock_.now()));
        worker_.join();
        server_.reset();
        signals_.reset();
        loop_.reset();
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    base::Result<> serve() {
        HF_TRY_ASSIGN(const base::UniqueFd listener, http::listen_tcp(options_.listen));
        server_.emplace(*loop_, clock_, listener.get(), options_.http, worker_.handler(),
                        Worker::render_status);
        server_->start();
        const std::string address = http::local_address(listener.get());
        spdlog::info("worker for {} listens on {}", model_name_, address);
        notifier_.send(fmt::format("X_HOLDFAST_LISTEN={}\nSTATUS=loading 0 %", address));
        await_signal();
        asio::co_spawn(*loop_, keep_watch(), asio::detached);
        loader_ = std::thread([this] { load_model(); });
        loop_->run();
        if (failure_) return std::unexpected(*std::move(failure_));
        return {};
    }

private:
    Settings settings() {
        Settings settings;
        settings.model = options_.model_name;
        model_name_ = settings.model;
        settings.tokens_per_second = options_.tokens_per_second;
        return settings;
    }

    void load_model() {
        auto loaded = std::make_shared<base::Result<Loaded>>(
            load(options_, clock_, [this](double share) { worker_.set_load_progress(share); }));
        asio::post(*loop_, [this, loaded] { take_over(std::move(*loaded)); });
    }

    void take_over(base::Result<Loaded> loaded) {
        if (!loaded) {
            spdlog::error("the model cannot be loaded: {}", loaded.error().what);
            notifier_.send("STATUS=the model cannot be loaded");
            failure_ = std::move(loaded).error();
            loop_->stop();
            return;
        }
        Serving serving;
        serving.engine = std::move(loaded->engine);
        serving.render = [chat_template = std::move(loaded->chat_template)](
                             std::span<const chat::Message> messages, text::PromptEnd end) {
            return chat_template.render(messages, end);
        };
        worker_.adopt(std::move(serving));
        const model::Model& model = worker_.engine()->model();
        spdlog::info("ready: context {}, {} KV blocks, {}, fingerprint {}", model.shape().context,
                     model.blocks(), cores::describe(options_.placement, options_.threads),
                     worker_.engine()->fingerprint());
        notifier_.send("READY=1\nSTATUS=serving");
    }

    void await_signal() {
        signals_->async_wait([this](const boost::system::error_code& error, int number) {
            if (error) return;
            // A worker that has not loaded has nothing to lose, and loading cannot be interrupted.
            if (worker_.draining()) std::_Exit(EXIT_FAILURE);
            spdlog::info("signal {}: draining", number);
            notifier_.send("STOPPING=1\nSTATUS=draining");
            if (!worker_.loaded()) std::_Exit(EXIT_SUCCESS);
            drain();
            await_signal();
        });
    }

    void drain() {
        worker_.drain();
        server_->drain();
        // The engine's stop waits for running answers, so it has a thread of its own.
        stopper_ = std::thread([this, engine = worker_.engine()] {
            engine->stop(base::Deadline::after(clock_, options_.drain));
            asio::post(*loop_, [this] { engine_stopped_ = true; });
        });
    }

    // Status while loading, the watchdog's sign while the engine moves, the end of a drain.
    loop::Task<void> keep_watch() {
        base::Duration since_sign{};
        int shown_percent = 0;
        std::optional<base::Instant> quiet_since;
        const base::Duration sign_every =
            watchdog_ ? base::Duration(*watchdog_) / 4 : base::Duration::max();
        const base::Duration pause = std::min<base::Duration>(tick, sign_every);
        while (true) {
            co_await loop::sleep_for(pause);
            const int percent = static_cast<int>(worker_.load_progress() * 100);
            if (!worker_.loaded() && std::exchange(shown_percent, percent) != percent) {
                notifier_.send(fmt::format("STATUS=loading {} %", percent));
            }
            since_sign += pause;
            if (worker_.loaded() && since_sign >= sign_every) {
                since_sign = {};
                if (worker_.moves()) notifier_.send("WATCHDOG=1");
            }
            if (worker_.draining()) tell_what_is_left();
            if (!engine_stopped_ || worker_.exchanges() > 0) continue;
            if (!quiet_since) quiet_since = clock_.now();
            if (server_->connections() == 0 || clock_.now() - *quiet_since >= farewell) break;
        }
        spdlog::info("drained");
        loop_->stop();
    }

    void tell_what_is_left() {
        const std::size_t left = worker_.exchanges();
        if (std::exchange(shown_left_, left) == left) return;
        notifier_.send(fmt::format("STATUS=draining, {} answers under way", left));
    }

    Options options_;
    base::SystemClock clock_;
    base::SystemEntropy entropy_;
    telemetry::Registry registry_;
    base::Notifier notifier_;
    std::optional<std::chrono::microseconds> watchdog_;
    std::string model_name_;
    std::unique_ptr<loop::Loop> loop_;
    Worker worker_;
    std::optional<asio::basic_signal_set<loop::Executor>> signals_;
    std::optional<http::Server> server_;
    std::thread loader_, stopper_;
    std::optional<base::Error> failure_;
    bool engine_stopped_ = false;
    std::size_t shown_left_ = 0;
};

}  // namespace

base::Result<> run(Options options) { return Process(std::move(options)).serve(); }

}  // namespace holdfast::worker
