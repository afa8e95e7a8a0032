// For tests: a core with a fake model, driven step by step in the test's own thread.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <bit>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inference/engine/core.h"
#include "inference/engine/fake_runner.h"
#include "inference/engine/fakes.h"
#include "inference/engine/prepare.h"

namespace holdfast::engine {

// Everything that an event says, floats bit for bit.
inline std::string describe(const chat::Event& event) {
    std::string text = fmt::format("#{} ids={} reasoning='{}' content='{}'", event.choice,
                                   event.ids, event.reasoning, event.content);
    for (const chat::TokenScore& score : event.scores) {
        text += fmt::format(" score({} '{}' {:x}", score.id, score.bytes,
                            std::bit_cast<std::uint32_t>(score.logprob));
        for (const auto& top : score.top)
            text += fmt::format(" {}:{:x}", top.id, std::bit_cast<std::uint32_t>(top.logprob));
        text += ")";
    }
    if (event.finish) text += fmt::format(" finish={}", static_cast<int>(*event.finish));
    return text;
}

// What a reader got from one stream so far.
struct Answer {
    struct Choice {
        std::vector<chat::TokenId> ids;
        std::string reasoning, content;
        std::vector<std::string> events;
        std::optional<chat::FinishReason> finish;
    };
    std::vector<chat::Event> events;
    std::vector<Choice> choices;
    std::optional<chat::Usage> usage;
    std::optional<base::Error> error;

    void add(const chat::Event& event) {
        events.push_back(event);
        if (choices.size() <= event.choice) choices.resize(event.choice + 1);
        Choice& choice = choices[event.choice];
        EXPECT_FALSE(choice.finish) << "an event after the choice's last";
        EXPECT_FALSE(usage) << "an event after the stream's last";
        choice.ids.insert(choice.ids.end(), event.ids.begin(), event.ids.end());
        choice.reasoning += event.reasoning;
        choice.content += event.content;
        choice.events.push_back(describe(event));
        choice.finish = event.finish;
        if (event.usage) usage = event.usage;
    }
    bool complete() const { return usage.has_value(); }
};

inline void expect_same(const Answer& got, const Answer& expected, const std::string& context) {
    SCOPED_TRACE(context);
    ASSERT_EQ(got.choices.size(), expected.choices.size());
    for (std::size_t i = 0; i < got.choices.size(); ++i)
        EXPECT_EQ(got.choices[i].events, expected.choices[i].events) << "choice " << i;
    ASSERT_TRUE(got.usage && expected.usage);
    EXPECT_EQ(got.usage->prompt_tokens, expected.usage->prompt_tokens);
    EXPECT_EQ(got.usage->completion_tokens, expected.usage->completion_tokens);
    EXPECT_EQ(got.usage->reasoning_tokens, expected.usage->reasoning_tokens);
}

// Requests that differ in everything that an answer depends on; the same for the same number.
inline chat::Generation varied_request(std::uint32_t number) {
    chat::Generation request;
    const std::string text = fmt::format("Question {}: {}", number * 7919,
                                         std::string(number * 13 % 90, 'a' + number % 26));
    if (number % 3 == 0) {
        request.prompt = text;
        request.echo = number % 2 == 0;
    } else {
        request.prompt = std::vector<chat::Message>{{.role = chat::Role::user, .content = text}};
    }
    request.sampling.seed = number * 1000 + 1;
    request.sampling.temperature = number % 5 == 0 ? 0.0F : 0.8F;
    if (number % 4 == 1) request.sampling.top_p = 0.9F;
    if (number % 4 == 2) request.sampling.top_k = 20;
    if (number % 6 == 5) request.sampling.min_p = 0.05F;
    if (number % 7 == 3) request.sampling.repetition_penalty = 1.3F;
    if (number % 7 == 4) {
        request.sampling.presence_penalty = 0.7F;
        request.sampling.frequency_penalty = 0.4F;
    }
    request.stopping.max_tokens = 20 + number * 11 % 60;
    if (number % 5 == 2) request.stopping.min_tokens = 15;
    if (number % 4 == 3) request.stopping.stop = {"stop", "END", "the the"};
    request.stopping.stop_in_reasoning = number % 8 == 7;
    if (number % 8 == 6) request.choices = 3;
    if (number % 5 == 1 && !request.echo) request.logprobs = number % 3;
    return request;
}

class World {
public:
    explicit World(Options options = {}, FakeModel::Options model_options = {},
                   RunnerKind kind = EachRunner::kind)
        : options(options),
          model(model_options),
          preparer(tokenizer, text::ChatTemplate(), model.shape(),
                   model_options.blocks * block_tokens),
          runner(maker(kind)(model, tokenizer)),
          core(model, *runner, options, clock) {}

    struct Reader {
        std::shared_ptr<Channel> channel;
        Answer answer;
        std::uint32_t wakes = 0;
        // Reads what there is, at most `count` events.
        void read(std::size_t count = SIZE_MAX) {
            for (; count > 0; --count) {
                auto event = channel->next();
                if (!event) answer.error = event.error();
                if (!event || !*event) return;
                answer.add(**event);
            }
        }
    };

    base::Result<std::unique_ptr<Reader>> try_submit(chat::Generation request,
                                                     base::Deadline deadline = {}) {
        HF_TRY_ASSIGN(std::unique_ptr<Group> group, preparer.prepare(std::move(request)));
        auto reader = std::make_unique<Reader>();
        reader->channel = group->channel = std::make_shared<Channel>(
            doorbell, [&wakes = reader->wakes] { ++wakes; }, options.unread_events_max);
        group->deadline = deadline;
        core.add(std::move(group));
        return reader;
    }
    std::unique_ptr<Reader> submit(chat::Generation request, base::Deadline deadline = {}) {
        auto reader = try_submit(std::move(request), deadline);
        EXPECT_TRUE(reader) << reader.error().what;
        return *std::move(reader);
    }
    // The whole answer, with whatever else the core has to do.
    Answer answer(chat::Generation request) {
        const std::unique_ptr<Reader> reader = submit(std::move(request));
        while (!reader->answer.complete() && !reader->answer.error) {
            const bool worked = core.step();
            reader->read();
            if (!worked && !reader->answer.complete()) {
                ADD_FAILURE() << "the core stands still";
                break;
            }
        }
        return reader->answer;
    }

    Options options;
    base::FakeClock clock;
    FakeTokenizer tokenizer;
    FakeModel model;
    Preparer preparer;
    std::unique_ptr<Runner> runner;
    Core core;
    std::shared_ptr<Doorbell> doorbell = std::make_shared<Doorbell>();
};

// What a request is answered in a world of its own, without any step in flight.
inline Answer answer_alone(const chat::Generation& request, FakeModel::Options model_options = {}) {
    return World({}, model_options, RunnerKind::host).answer(request);
}

}  // namespace holdfast::engine
