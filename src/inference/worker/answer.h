// One generation: from the request's body to the last byte of the answer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inference/worker/call.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {

// Lives in the coroutine of its request. Destroying it cancels the generation.
class Worker::Answer {
public:
    Answer(Worker& worker, Call& call, const dialect::Dialect& dialect,
           const dialect::Route& route);
    ~Answer();
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;

    loop::Task<void> run();

private:
    enum class Step { waiting, paced, more, finished, failed };

    base::Result<> check_headers();
    // On the pool: body to request to the engine's queue.
    base::Result<> submit(engine::Engine& engine);
    Step collect();
    loop::Task<void> write_stream();
    loop::Task<void> write_whole();
    loop::Task<void> refuse(base::Error error);
    void observe(const chat::Event& event);
    void start();
    bool moved();
    http::Headers headers(std::string_view content_type) const;
    void log() const;

    Worker& worker_;
    Call& call_;
    const dialect::Dialect& dialect_;
    const dialect::Route& route_;
    std::shared_ptr<Bell> bell_;
    base::Deadline deadline_;
    dialect::AnswerHead head_;
    chat::Presentation presentation_;
    std::unique_ptr<dialect::Encoder> encoder_;
    std::unique_ptr<engine::Stream> stream_;
    std::optional<base::Error> error_;
    std::string out_;
    std::uint64_t progress_ = 0;  // of the engine, at the last ping
    bool started_ = false;
    bool has_tokens_ = false;
    bool ended_ = false;  // the client has the whole answer
    std::optional<base::Duration> first_token_;
    std::vector<base::Instant> last_tokens_;  // per choice
    std::optional<chat::Usage> usage_;
};

}  // namespace holdfast::worker
