// What the tests of this room share: a worker behind a real socket, and an engine that says what
// the test tells it to.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>

#include "common/http/test_world.h"
#include "inference/engine/fakes.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {

// One request's events as the test gives them. Any thread.
class Script {
public:
    chat::Generation request;
    base::Deadline deadline;

    void say(chat::Event event) { push(std::move(event)); }
    void say(std::string content) { push(chat::Event{.ids = {1}, .content = std::move(content)}); }
    void fail(base::Error error) { push(std::unexpected(std::move(error))); }
    void end(chat::FinishReason reason = chat::FinishReason::stop) {
        push(chat::Event{.ids = {2}, .finish = reason, .usage = chat::Usage{3, 4, 1, 0}});
    }
    void await_cancel() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return destroyed_; });
    }

private:
    friend class FakeEngine;
    friend class FakeStream;
    void push(base::Result<std::optional<chat::Event>> news) {
        std::function<void()> wake;
        {
            const std::lock_guard lock(mutex_);
            news_.push_back(std::move(news));
            wake = wake_;
        }
        if (wake) wake();
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<base::Result<std::optional<chat::Event>>> news_;
    std::function<void()> wake_;
    bool destroyed_ = false;
};

class FakeStream final : public engine::Stream {
public:
    explicit FakeStream(std::shared_ptr<Script> script) : script_(std::move(script)) {}
    ~FakeStream() override {
        const std::lock_guard lock(script_->mutex_);
        script_->wake_ = nullptr;
        script_->destroyed_ = true;
        script_->changed_.notify_all();
    }
    base::Result<std::optional<chat::Event>> next() override {
        const std::lock_guard lock(script_->mutex_);
        if (script_->news_.empty()) return std::nullopt;
        auto news = std::move(script_->news_.front());
        script_->news_.pop_front();
        return news;
    }

private:
    std::shared_ptr<Script> script_;
};

class FakeEngine final : public engine::Engine {
public:
    base::Result<std::unique_ptr<engine::Stream>> submit(chat::Generation request,
                                                         base::Deadline deadline,
                                                         std::function<void()> wake) override {
        const std::lock_guard lock(mutex_);
        if (refusal) return std::unexpected(*refusal);
        auto script = std::make_shared<Script>();
        script->request = std::move(request);
        script->deadline = deadline;
        script->wake_ = std::move(wake);
        scripts_.push_back(script);
        changed_.notify_all();
        return std::make_unique<FakeStream>(script);
    }
    // The next request that was submitted.
    std::shared_ptr<Script> await_request() {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return !scripts_.empty(); });
        auto script = std::move(scripts_.front());
        scripts_.pop_front();
        return script;
    }
    engine::Stats stats() const override {
        const std::lock_guard lock(mutex_);
        return stats_;
    }
    void set_stats(engine::Stats stats) {
        const std::lock_guard lock(mutex_);
        stats_ = stats;
    }
    const model::Model& model() const override { return model_; }
    const std::string& fingerprint() const override { return model_.fingerprint(); }
    const text::Tokenizer& tokenizer() const override { return tokenizer_; }
    void stop(base::Deadline) override {}

    std::optional<base::Error> refusal;

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::shared_ptr<Script>> scripts_;
    engine::Stats stats_;
    engine::FakeModel model_;
    engine::FakeTokenizer tokenizer_;
};

// A worker on a loop of its own, behind a socket.
class World {
public:
    explicit World(std::chrono::milliseconds ping_every = std::chrono::minutes(1))
        : listener_(*http::listen_tcp("127.0.0.1:0")) {
        thread_.call([&] {
            Settings settings;
            settings.model = "r1";
            settings.ping_every = ping_every;
            worker_.emplace(thread_.loop().get_executor(), clock_, entropy_, registry_, settings);
            server_.emplace(thread_.loop(), clock_, listener_.get(), http::ServerLimits(),
                            worker_->handler(), Worker::render_status);
            server_->start();
        });
    }
    ~World() {
        thread_.call([&] { server_.reset(); });
        await_exchanges(0);
        thread_.call([&] { worker_.reset(); });
    }

    void adopt(std::shared_ptr<engine::Engine> engine) {
        Serving serving;
        serving.engine = std::move(engine);
        serving.render = [](std::span<const chat::Message> messages, text::PromptEnd end) {
            std::string text;
            for (const auto& message : messages) text += "|" + message.content;
            if (end == text::PromptEnd::answer) text += "?";
            if (end == text::PromptEnd::message) text += ".";
            return base::Result<std::string>(text);
        };
        thread_.call([&] { worker_->adopt(std::move(serving)); });
    }
    void drain() {
        thread_.call([&] { worker_->drain(); });
    }
    bool moves() {
        return thread_.call([&] { return worker_->moves(); });
    }
    void await_exchanges(std::size_t count) {
        while (thread_.call([&] { return worker_->exchanges(); }) != count) {
            std::this_thread::yield();
        }
    }
    Worker& worker() { return *worker_; }

    http::testing::RawSocket connect() const {
        return http::testing::RawSocket::connect(http::testing::port_of(listener_.get()));
    }
    // The whole answer to one request.
    std::string get(std::string_view path) {
        auto socket = connect();
        socket.send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path));
        return socket.read_answer();
    }
    static std::string post(std::string_view path, std::string_view body,
                            std::string_view headers = "") {
        return fmt::format(
            "POST {} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{}Content-Length: "
            "{}\r\n\r\n{}",
            path, headers, body.size(), body);
    }
    std::string ask(std::string_view path, std::string_view body, std::string_view headers = "") {
        auto socket = connect();
        socket.send(post(path, body, headers));
        return socket.read_answer();
    }

private:
    base::UniqueFd listener_;
    base::SystemClock clock_;
    base::SystemEntropy entropy_;
    telemetry::Registry registry_;
    http::testing::LoopThread thread_;
    std::optional<Worker> worker_;
    std::optional<http::Server> server_;
};

}  // namespace holdfast::worker
