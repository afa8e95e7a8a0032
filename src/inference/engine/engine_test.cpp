// The engine with its thread. Tests wait for events, never for time.
#include "inference/engine/engine.h"

#include <gtest/gtest.h>

#include <semaphore>
#include <thread>

#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

using namespace std::chrono_literals;

// Lets the test hold the engine thread inside a forward.
class Turnstile {
public:
    void pass() {
        entered_.release();
        open_.acquire();
    }
    void wait_until_entered() { entered_.acquire(); }
    void open() { open_.release(1'000'000); }

private:
    std::counting_semaphore<> entered_{0}, open_{0};
};

struct Client {
    std::counting_semaphore<> news{0};
    std::unique_ptr<Stream> stream;
    Answer answer;

    std::function<void()> wake() {
        return [this] { news.release(); };
    }
    // Reads until the stream's end.
    void finish() {
        while (!answer.complete() && !answer.error) {
            auto event = stream->next();
            if (!event)
                answer.error = event.error();
            else if (*event)
                answer.add(**event);
            else
                news.acquire();
        }
    }
};

struct Host {
    explicit Host(Options options = {}, FakeModel::Options model_options = {},
                  std::function<void(std::span<const model::Slice>)> before_forward = nullptr) {
        auto model = std::make_unique<FakeModel>(model_options);
        model->before_forward = std::move(before_forward);
        engine = make_engine(std::move(model), std::make_shared<FakeTokenizer>(),
                             text::ChatTemplate(), options, clock, maker(EachRunner::kind));
    }
    std::unique_ptr<Client> submit(chat::Generation request, base::Deadline deadline = {}) {
        auto client = std::make_unique<Client>();
        auto stream = engine->submit(std::move(request), deadline, client->wake());
        EXPECT_TRUE(stream) << stream.error().what;
        if (stream) client->stream = *std::move(stream);
        return client;
    }
    base::Error refusal(chat::Generation request, base::Deadline deadline = {}) {
        auto stream = engine->submit(std::move(request), deadline, nullptr);
        EXPECT_FALSE(stream);
        return stream ? base::Error{} : stream.error();
    }
    base::SystemClock clock;
    std::unique_ptr<Engine> engine;
};

class EngineTest : public EachRunner {};
HF_ON_EACH_RUNNER(EngineTest);

chat::Generation endless_request() {
    chat::Generation request;
    request.prompt = std::string("endless");
    request.stopping.ignore_eos = true;
    request.sampling.seed = 1;
    return request;
}

}  // namespace

TEST_P(EngineTest, AnswersManyThreadsAsEachAlone) {
    Host host({.running_max = 8, .unread_events_max = 4}, {.blocks = 60});
    std::vector<std::thread> threads;
    std::vector<Answer> answers(24);
    for (std::uint32_t i = 0; i < answers.size(); ++i)
        threads.emplace_back([&, i] {
            const auto client = host.submit(varied_request(i));
            client->finish();
            answers[i] = client->answer;
        });
    for (std::thread& thread : threads) thread.join();
    for (std::uint32_t i = 0; i < answers.size(); ++i)
        expect_same(answers[i], answer_alone(varied_request(i)), fmt::format("request {}", i));
    host.engine->stop(base::Deadline());
    const Stats stats = host.engine->stats();
    EXPECT_EQ(stats.running + stats.waiting + stats.paused + stats.blocks_used, 0U);
    EXPECT_GE(stats.progress, stats.steps * 2);
}

TEST_P(EngineTest, RefusesMoreThanMayWaitAndSaysToRetryLater) {
    Turnstile turnstile;
    Host host({.running_max = 1, .waiting_max = 3}, {}, [&](auto) { turnstile.pass(); });
    std::vector<std::unique_ptr<Client>> clients;
    clients.push_back(host.submit(varied_request(1)));
    turnstile.wait_until_entered();
    // The one in the step counts as waiting until the step has ended.
    for (int i = 0; i < 2; ++i) clients.push_back(host.submit(varied_request(1)));
    const base::Error error = host.refusal(varied_request(1));
    EXPECT_EQ(error.code, base::Code::overloaded);
    EXPECT_EQ(error.retry, base::Retry::later);
    chat::Generation greedy = varied_request(1);
    greedy.choices = 4;
    EXPECT_EQ(host.refusal(greedy).field, "n");
    turnstile.open();
    for (auto& client : clients) {
        client->finish();
        EXPECT_TRUE(client->answer.complete());
    }
}

TEST_P(EngineTest, DrawsASeedForARequestWithoutOne) {
    Host host;
    chat::Generation request = endless_request();
    request.sampling.seed.reset();
    request.stopping.max_tokens = 40;
    const auto first = host.submit(request), second = host.submit(request);
    first->finish();
    second->finish();
    EXPECT_NE(first->answer.choices[0].ids, second->answer.choices[0].ids);
}

TEST_P(EngineTest, ADestroyedStreamFreesItsBlocksAndIsNotWokenAgain) {
    Host host;
    auto leaving = host.submit(endless_request());
    while (!leaving->stream->next().value()) leaving->news.acquire();
    leaving.reset();  // with its semaphore: a later wake would be a use after free
    const auto other = host.submit(varied_request(1));
    other->finish();
    host.engine->stop(base::Deadline());
    EXPECT_EQ(host.engine->stats().cancelled, 1U);
    EXPECT_EQ(host.engine->stats().blocks_used, 0U);
}

TEST_P(EngineTest, AReaderThatLeavesWakesAnIdleEngine) {
    Host host({.unread_events_max = 1});
    const auto client = host.submit(endless_request());
    while (host.engine->stats().paused == 0) std::this_thread::yield();
    client->stream.reset();
    while (host.engine->stats().cancelled == 0) std::this_thread::yield();
    EXPECT_EQ(host.engine->stats().blocks_used, 0U);
}

TEST_P(EngineTest, ADeadlineEndsAChoiceThatOnlyWaitsForItsReader) {
    Host host({.unread_events_max = 2});
    const auto client = host.submit(endless_request(), base::Deadline::after(host.clock, 50ms));
    // Wakes: once for each of two events and one in flight, then for the error, though nothing is
    // read meanwhile.
    for (std::uint32_t i = 0; i < 3 + late(); ++i) client->news.acquire();
    client->finish();
    ASSERT_TRUE(client->answer.error);
    EXPECT_EQ(client->answer.error->code, base::Code::deadline);
}

TEST_P(EngineTest, RefusesARequestWhoseDeadlineHasPassed) {
    Host host;
    EXPECT_EQ(host.refusal(endless_request(), base::Deadline(host.clock.now())).code,
              base::Code::deadline);
}

TEST_P(EngineTest, StopLetsRunningRequestsEndAndRefusesTheRest) {
    Turnstile turnstile;
    Host host({.running_max = 1}, {}, [&](auto) { turnstile.pass(); });
    const auto running = host.submit(varied_request(1));
    turnstile.wait_until_entered();
    const auto waiting = host.submit(varied_request(2));
    std::thread stopping([&] { host.engine->stop(base::Deadline()); });
    base::Error error;
    do {  // until the other thread has said stop; the queue may be full before that
        auto late = host.engine->submit(varied_request(3), {}, nullptr);
        if (!late) error = late.error();
    } while (error.code != base::Code::unavailable);
    turnstile.open();
    stopping.join();
    EXPECT_EQ(error.code, base::Code::unavailable);
    EXPECT_EQ(error.retry, base::Retry::elsewhere);
    running->finish();
    waiting->finish();
    expect_same(running->answer, answer_alone(varied_request(1)), "the running one");
    ASSERT_TRUE(waiting->answer.error);
    EXPECT_EQ(waiting->answer.error->code, base::Code::unavailable);
}

TEST_P(EngineTest, StopEndsWhatIsLeftAtItsDeadline) {
    Host host({.unread_events_max = 4});
    const auto paused = host.submit(endless_request());
    while (!paused->stream->next().value()) paused->news.acquire();
    host.engine->stop(base::Deadline::after(host.clock, 20ms));
    paused->finish();
    ASSERT_TRUE(paused->answer.error);
    EXPECT_EQ(paused->answer.error->code, base::Code::unavailable);
}

TEST_P(EngineTest, AStreamMayOutliveItsEngine) {
    auto host = std::make_unique<Host>();
    const auto client = host->submit(endless_request());
    host.reset();
    client->finish();
    ASSERT_TRUE(client->answer.error);
    EXPECT_EQ(client->answer.error->code, base::Code::unavailable);
}

TEST_P(EngineTest, AnIdleEngineWaitsForABatchAndBeginsWhenItIsFull) {
    std::vector<std::size_t> batches;
    Host host({.running_max = 3, .batch_wait = 1h}, {},
              [&](std::span<const model::Slice> slices) { batches.push_back(slices.size()); });
    std::vector<std::unique_ptr<Client>> clients;
    for (const std::uint32_t number : {1U, 2U, 4U})
        clients.push_back(host.submit(varied_request(number)));
    for (const auto& client : clients) client->finish();
    EXPECT_EQ(batches.front(), 3U);

    const auto alone = host.submit(varied_request(1));
    EXPECT_EQ(host.engine->stats().waiting, 1U);
    host.engine->stop(base::Deadline());  // ends the wait
    alone->finish();
    ASSERT_TRUE(alone->answer.error);
    EXPECT_EQ(alone->answer.error->code, base::Code::unavailable);
}

TEST_P(EngineTest, NobodyWaitsForABatchBesideARunningAnswer) {
    Host host({.running_max = 2, .batch_wait = 1h});
    const auto endless = host.submit(endless_request());
    const auto first = host.submit(varied_request(1));
    first->finish();
    const auto second = host.submit(varied_request(2));
    second->finish();
    expect_same(second->answer, answer_alone(varied_request(2)), "the second");
}

TEST_P(EngineTest, ABatchWaitEndsWithoutCompany) {
    Host host({.batch_wait = 1ms});
    const auto client = host.submit(varied_request(2));
    client->finish();
    expect_same(client->answer, answer_alone(varied_request(2)), "alone");
}

TEST_P(EngineTest, ReportsWorkUntilItIsDone) {
    Turnstile turnstile;
    Host host({}, {}, [&](auto) { turnstile.pass(); });
    const auto client = host.submit(varied_request(4));
    EXPECT_EQ(host.engine->stats().running + host.engine->stats().waiting, 1U);
    turnstile.wait_until_entered();
    EXPECT_EQ(host.engine->stats().running + host.engine->stats().waiting, 1U);
    turnstile.open();
    client->finish();
    host.engine->stop(base::Deadline());
    EXPECT_EQ(host.engine->stats().running + host.engine->stats().waiting, 0U);
    EXPECT_EQ(host.engine->stats().generated_tokens, client->answer.usage->completion_tokens);
}

TEST_P(EngineTest, ItsFingerprintNamesTheModelAndTheSampler) {
    EXPECT_EQ(Host().engine->fingerprint(), "fake-sampler-2");
}

}  // namespace holdfast::engine
