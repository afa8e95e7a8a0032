#include "common/http/poller.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <vector>

namespace holdfast::http {
namespace {

// One end of a connection, registered; `say` makes the other end speak.
class Ear final : public Poller::Watcher {
public:
    explicit Ear(loop::Loop& loop) : poller_(asio::use_service<Poller>(loop)) {
        int ends[2] = {-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        own_.reset(ends[0]);
        other_.reset(ends[1]);
        EXPECT_TRUE(poller_.add(*this, own_.get()));
    }
    ~Ear() override { stop(); }

    void say() { EXPECT_EQ(::send(other_.get(), "x", 1, MSG_NOSIGNAL), 1); }
    void stop() {
        if (own_) poller_.remove(*this, own_.get());
        own_.reset();
    }
    int fd() const { return own_.get(); }

    std::function<void()> on_input;
    int inputs = 0;
    bool was_abandoned = false;

private:
    void ready(std::uint32_t events) override {
        if ((events & EPOLLIN) == 0) return;
        ++inputs;
        if (on_input) on_input();
    }
    void abandoned() override {
        was_abandoned = true;
        own_.reset();
    }

    Poller& poller_;
    base::UniqueFd own_, other_;
};

TEST(Poller, TellsEveryWatcherOfABurstOnce) {
    loop::Loop loop(1);
    std::vector<std::unique_ptr<Ear>> ears;
    ears.reserve(200);
    for (int i = 0; i < 200; ++i) ears.push_back(std::make_unique<Ear>(loop));
    for (const auto& ear : ears) ear->say();
    int told = 0;
    for (const auto& ear : ears) {
        ear->on_input = [&] {
            if (++told == 200) loop.stop();
        };
    }
    loop.run();
    for (const auto& ear : ears) EXPECT_EQ(ear->inputs, 1);
}

TEST(Poller, TellsAgainOfBytesThatComeBehindUnreadOnes) {
    loop::Loop loop(1);
    Ear ear(loop);
    ear.on_input = [&] { ear.inputs < 3 ? ear.say() : ear.stop(); };
    ear.say();
    loop.run();
    EXPECT_EQ(ear.inputs, 3);
}

// Both events come with one look at the set; the second belongs to nobody any more when its turn
// comes, although its descriptor has already been given to someone else.
TEST(Poller, DropsTheEventOfAWatcherThatIsRemovedInTheSameTurn) {
    loop::Loop loop(1);
    Ear first(loop), second(loop);
    std::unique_ptr<Ear> newcomer;
    int reused = -1;
    const auto replace = [&](Ear& other) {
        if (newcomer) return;
        reused = other.fd();
        other.stop();
        newcomer = std::make_unique<Ear>(loop);
        asio::post(loop, [&loop] { asio::post(loop, [&loop] { loop.stop(); }); });
    };
    first.on_input = [&] { replace(second); };
    second.on_input = [&] { replace(first); };
    first.say();
    second.say();
    loop.run();
    EXPECT_EQ(first.inputs + second.inputs, 1);
    EXPECT_EQ(newcomer->fd(), reused);
    EXPECT_EQ(newcomer->inputs, 0);
}

TEST(Poller, LetsAWatcherDestroyItselfAndOthers) {
    loop::Loop loop(1);
    std::vector<std::unique_ptr<Ear>> ears;
    ears.reserve(10);
    for (int i = 0; i < 10; ++i) ears.push_back(std::make_unique<Ear>(loop));
    int told = 0;
    for (const auto& ear : ears) {
        ear->say();
        ear->on_input = [&] {
            ++told;
            auto all = std::move(ears);
            ears.clear();
        };
    }
    loop.run();  // ends, because nothing is registered any more
    EXPECT_EQ(told, 1);
}

TEST(Poller, KeepsTheLoopBusyWhileSomethingIsRegistered) {
    loop::Loop loop(1);
    Ear ear(loop);
    loop.poll();
    EXPECT_FALSE(loop.stopped());
    ear.stop();
    loop.run();
    loop.restart();
    Ear another(loop);
    another.say();
    another.on_input = [&] { another.stop(); };
    loop.run();
    EXPECT_EQ(another.inputs, 1);
}

TEST(Poller, TellsWatchersThatTheirLoopIsGone) {
    auto loop = std::make_unique<loop::Loop>(1);
    Ear ear(*loop);
    loop->poll();
    loop.reset();
    EXPECT_TRUE(ear.was_abandoned);
}

}  // namespace
}  // namespace holdfast::http
