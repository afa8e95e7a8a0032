// Continuous batching over one model. One engine thread owns all scheduling state; a step is
// plan (scheduler, blocks) -> launch, collect (runner) -> commit (append, emit, free). The engine
// never waits for a client: a choice whose reader falls behind is not scheduled until it has caught
// up.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "inference/model/model.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

struct Options {
    std::uint32_t running_max = 64;   // choices decoded together
    std::uint32_t waiting_max = 512;  // choices admitted and not yet running; above: overloaded
    std::uint32_t prefill_tokens_max = 256;  // prompt tokens computed in one step, all sequences
    std::uint32_t unread_events_max = 256;   // per stream, before the stream's choices pause
    bool prefix_cache = true;
    std::uint32_t speculation_tokens_max = 0;  // proposed in one step of a choice; 0: none
    // How long an engine without any request lets the first ones wait for more, up to running_max.
    std::chrono::milliseconds batch_wait{};
};

struct Stats {
    std::uint64_t steps = 0;
    std::uint64_t progress = 0;  // steps plus the model's own progress: moves whenever work is done
    // Choices. Paused ones wait for their reader and count as neither running nor waiting: work is
    // due, and `progress` must move, exactly while running + waiting > 0.
    std::uint32_t running = 0, waiting = 0, paused = 0;
    std::uint32_t blocks_used = 0, blocks_total = 0;  // used: referenced by a live choice
    std::uint64_t prompt_tokens = 0, generated_tokens = 0, cached_tokens = 0;
    std::uint64_t proposed_tokens = 0, accepted_tokens = 0;  // speculation's
    std::uint64_t preemptions = 0;                           // choices whose blocks others needed
    std::uint64_t cancelled = 0;  // requests whose reader left before the end
};

// The reading end of one request's events. One reader thread; destroying it cancels the request,
// which leaves the batch before the next step.
class Stream {
public:
    virtual ~Stream() = default;
    // The next event, or nothing yet; after the event with `usage` there are no more. An error
    // (deadline passed, engine stopping) is the end of the stream.
    virtual base::Result<std::optional<chat::Event>> next() = 0;
};

class Engine {
public:
    virtual ~Engine() = default;

    // Any thread. Renders, tokenizes and checks the prompt on the calling thread (call it from a
    // pool, not from an event loop), then queues. `wake` is called from the engine thread, cheaply
    // and perhaps more often than needed, when the stream may have news; it must not block and
    // must not destroy the stream. Once the stream's destructor has returned, `wake` is not called.
    // A request without a seed gets a random one.
    // Errors: invalid with the field's name, above the context with tag context_length_exceeded
    // and both numbers, for resumed ids that do not exist or go beyond the answer's end; overloaded
    // (retry later); deadline; unavailable when the engine stops (retry elsewhere).
    virtual base::Result<std::unique_ptr<Stream>> submit(chat::Generation request,
                                                         base::Deadline deadline,
                                                         std::function<void()> wake) = 0;
    virtual Stats stats() const = 0;  // any thread, never blocks on a step
    virtual const model::Model& model() const = 0;
    // Names everything that decides which tokens are drawn: the model's fingerprint and the
    // sampler's version. An answer may go on only where it is the same.
    virtual const std::string& fingerprint() const = 0;
    virtual const text::Tokenizer& tokenizer() const = 0;
    // Refuses new requests and those that no step has worked for; lets the others end until the
    // deadline, then ends them too, all with Code::unavailable. Returns when the thread has ended.
    virtual void stop(base::Deadline deadline) = 0;
};

class Runner;  // engine/runner.h
// How to compute with a model; both arguments outlive the runner.
using MakeRunner = std::function<std::unique_ptr<Runner>(model::Model&, const text::Tokenizer&)>;
std::unique_ptr<Runner> make_host_runner(model::Model& model, const text::Tokenizer& tokenizer);

// The clock must outlive the engine. The destructor stops at once.
std::unique_ptr<Engine> make_engine(std::unique_ptr<model::Model> model,
                                    std::shared_ptr<const text::Tokenizer> tokenizer,
                                    text::ChatTemplate chat_template, Options options,
                                    const base::Clock& clock, const MakeRunner& make_runner);
// On the host.
std::unique_ptr<Engine> make_engine(std::unique_ptr<model::Model> model,
                                    std::shared_ptr<const text::Tokenizer> tokenizer,
                                    text::ChatTemplate chat_template, Options options,
                                    const base::Clock& clock);

}  // namespace holdfast::engine
