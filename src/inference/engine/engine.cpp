#include "inference/engine/engine.h"

#include <fmt/format.h>

#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/assert.h"
#include "common/base/random.h"
#include "inference/engine/channel.h"
#include "inference/engine/core.h"
#include "inference/engine/prepare.h"
#include "inference/engine/runner.h"

namespace holdfast::engine {
namespace {

class ChannelStream final : public Stream {
public:
    explicit ChannelStream(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}
    ~ChannelStream() override { channel_->cancel(); }
    base::Result<std::optional<chat::Event>> next() override { return channel_->next(); }

private:
    const std::shared_ptr<Channel> channel_;
};

// Core on its own thread. Other threads reach it through the inbox; what they may know of it is in
// the last published Stats.
class ThreadedEngine final : public Engine {
public:
    ThreadedEngine(std::unique_ptr<model::Model> model,
                   std::shared_ptr<const text::Tokenizer> tokenizer,
                   text::ChatTemplate chat_template, Options options, const base::Clock& clock,
                   const MakeRunner& make_runner)
        : model_(std::move(model)),
          tokenizer_(std::move(tokenizer)),
          fingerprint_(fmt::format("{}-sampler-{}", model_->fingerprint(), sampler_version)),
          options_(options),
          clock_(clock),
          preparer_(*tokenizer_, std::move(chat_template), model_->shape(),
                    model_->blocks() * block_tokens),
          runner_(make_runner(*model_, *tokenizer_)),
          core_(*model_, *runner_, options, clock) {
        published_ = core_.stats();
        thread_ = std::thread([this] { run(); });
    }
    ~ThreadedEngine() override { stop(base::Deadline(clock_.now())); }

    base::Result<std::unique_ptr<Stream>> submit(chat::Generation request, base::Deadline deadline,
                                                 std::function<void()> wake) override;
    Stats stats() const override;
    const model::Model& model() const override { return *model_; }
    const std::string& fingerprint() const override { return fingerprint_; }
    const text::Tokenizer& tokenizer() const override { return *tokenizer_; }
    void stop(base::Deadline deadline) override;

private:
    base::Result<void> check_admission(std::uint32_t choices) const;  // mutex_ is held
    void run();
    void gather();
    void take_inbox();
    bool stop_if_asked();
    void publish_stats();

    const std::unique_ptr<model::Model> model_;
    const std::shared_ptr<const text::Tokenizer> tokenizer_;
    const std::string fingerprint_;
    const Options options_;
    const base::Clock& clock_;
    const Preparer preparer_;
    const std::shared_ptr<Doorbell> doorbell_ = std::make_shared<Doorbell>();

    mutable std::mutex mutex_;  // of the five below; held for moments only
    std::vector<std::unique_ptr<Group>> inbox_;
    std::uint32_t inbox_choices_ = 0;
    std::optional<base::Deadline> stop_deadline_;
    Stats published_;
    base::SystemEntropy entropy_;

    const std::unique_ptr<Runner> runner_;  // engine thread only, as are the next three
    Core core_;
    std::vector<std::unique_ptr<Group>> arriving_;
    bool stopping_ = false;

    std::mutex join_mutex_;
    std::thread thread_;
};

base::Error stopping_error() {
    return {.code = base::Code::unavailable,
            .what = "this instance is stopping",
            .retry = base::Retry::elsewhere,
            .tag = "stopping"};
}

base::Result<std::unique_ptr<Stream>> ThreadedEngine::submit(chat::Generation request,
                                                             base::Deadline deadline,
                                                             std::function<void()> wake) {
    if (deadline.passed(clock_.now()))
        return base::fail(base::Code::deadline, "the deadline passed before the request began");
    if (request.choices > options_.waiting_max)
        return base::fail_field("n", "at most {} choices are possible here", options_.waiting_max);
    {
        // Before the prompt is tokenized: a refusal under overload costs next to nothing.
        const std::lock_guard lock(mutex_);
        HF_TRY(check_admission(request.choices));
        if (!request.sampling.seed) request.sampling.seed = entropy_.next();
    }
    HF_TRY_ASSIGN(std::unique_ptr<Group> group, preparer_.prepare(std::move(request)));
    const auto channel =
        std::make_shared<Channel>(doorbell_, std::move(wake), options_.unread_events_max);
    group->deadline = deadline;
    group->channel = channel;
    {
        const std::lock_guard lock(mutex_);
        HF_TRY(check_admission(group->unfinished));
        inbox_choices_ += group->unfinished;
        inbox_.push_back(std::move(group));
    }
    doorbell_->ring();
    return std::make_unique<ChannelStream>(channel);
}

base::Result<void> ThreadedEngine::check_admission(std::uint32_t choices) const {
    if (stop_deadline_) return std::unexpected(stopping_error());
    // Choices that a step is about to admit still count: the bound is on memory, not on fairness.
    if (published_.waiting + inbox_choices_ + choices <= options_.waiting_max) return {};
    return std::unexpected(base::Error{.code = base::Code::overloaded,
                                       .what = "too many requests are waiting for this model",
                                       .retry = base::Retry::later,
                                       .tag = "queue_full"});
}

Stats ThreadedEngine::stats() const {
    Stats stats;
    {
        const std::lock_guard lock(mutex_);
        stats = published_;
        stats.waiting += inbox_choices_;
    }
    stats.progress = stats.steps + model_->progress();
    return stats;
}

void ThreadedEngine::stop(base::Deadline deadline) {
    {
        const std::lock_guard lock(mutex_);
        stop_deadline_ = stop_deadline_.value_or(deadline).sooner(deadline);
    }
    doorbell_->ring();
    const std::lock_guard lock(join_mutex_);
    if (thread_.joinable()) thread_.join();
}

void ThreadedEngine::run() {
    while (true) {
        if (core_.empty()) gather();
        take_inbox();
        if (stop_if_asked()) return;
        const bool worked = core_.step();
        publish_stats();
        if (worked || (stopping_ && core_.empty())) continue;
        base::Deadline until = core_.nearest_deadline();
        if (stopping_) {
            const std::lock_guard lock(mutex_);
            until = until.sooner(*stop_deadline_);
        }
        doorbell_->wait(until.left(clock_.now()));
    }
}

// The batch wait. It keeps nobody waiting who runs: the core is empty.
void ThreadedEngine::gather() {
    if (options_.batch_wait <= base::Duration::zero()) return;
    std::optional<base::Deadline> until;
    while (true) {
        {
            const std::lock_guard lock(mutex_);
            if (inbox_.empty() || inbox_choices_ >= options_.running_max || stop_deadline_) return;
        }
        const base::Instant now = clock_.now();
        if (!until) until = base::Deadline(now + options_.batch_wait);
        if (until->passed(now)) return;
        doorbell_->wait(until->left(now));
    }
}

void ThreadedEngine::take_inbox() {
    {
        const std::lock_guard lock(mutex_);
        std::swap(arriving_, inbox_);
        // From here to the next publish_stats() they are counted by nobody else.
        published_.waiting += std::exchange(inbox_choices_, 0);
    }
    for (std::unique_ptr<Group>& group : arriving_) core_.add(std::move(group));
    arriving_.clear();
}

// True: everything has ended.
bool ThreadedEngine::stop_if_asked() {
    std::optional<base::Deadline> deadline;
    {
        const std::lock_guard lock(mutex_);
        deadline = stop_deadline_;
    }
    if (!deadline) return false;
    // Submitting and asking to stop hold the same lock, so nothing arrives after this round.
    if (!std::exchange(stopping_, true)) {
        take_inbox();
        core_.fail_unstarted(stopping_error());
    }
    if (deadline->passed(clock_.now())) core_.fail_all(stopping_error());
    publish_stats();
    return core_.empty();
}

void ThreadedEngine::publish_stats() {
    const Stats stats = core_.stats();
    const std::lock_guard lock(mutex_);
    published_ = stats;
}

}  // namespace

std::unique_ptr<Engine> make_engine(std::unique_ptr<model::Model> model,
                                    std::shared_ptr<const text::Tokenizer> tokenizer,
                                    text::ChatTemplate chat_template, Options options,
                                    const base::Clock& clock, const MakeRunner& make_runner) {
    HF_ASSERT(model != nullptr && tokenizer != nullptr);
    HF_ASSERT(options.unread_events_max >= 1 && options.waiting_max >= 1);
    return std::make_unique<ThreadedEngine>(std::move(model), std::move(tokenizer),
                                            std::move(chat_template), options, clock, make_runner);
}

std::unique_ptr<Engine> make_engine(std::unique_ptr<model::Model> model,
                                    std::shared_ptr<const text::Tokenizer> tokenizer,
                                    text::ChatTemplate chat_template, Options options,
                                    const base::Clock& clock) {
    return make_engine(std::move(model), std::move(tokenizer), std::move(chat_template), options,
                       clock, make_host_runner);
}

}  // namespace holdfast::engine
