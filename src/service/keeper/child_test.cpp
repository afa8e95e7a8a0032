#include "service/keeper/child.h"

#include <gtest/gtest.h>

namespace holdfast::keeper {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using Command = Child::Command;

// A child, a clock and no process.
struct Nursery {
    base::FakeClock clock;
    Child child{ChildLimits{}};

    Command next() { return child.next(clock.now()); }
    void say(std::string_view text) { child.heard(parse_notification(text), clock.now()); }
    void start(int pid = 100) {
        ASSERT_EQ(next(), Command::start);
        child.started(pid, clock.now());
    }
    void run(int pid = 100) {
        start(pid);
        say("READY=1");
        ASSERT_EQ(child.phase(), Phase::running);
    }
    void die(double jitter = 1.0) { child.exited(clock.now(), jitter); }
    base::Duration pause() { return child.pause(clock.now()); }
};

TEST(Child, StartsAtOnceAndRunsWhenItSaysSo) {
    Nursery n;
    EXPECT_EQ(n.next(), Command::start);
    n.child.started(100, n.clock.now());
    EXPECT_EQ(n.child.phase(), Phase::starting);
    EXPECT_EQ(n.next(), Command::none);
    n.say("STATUS=loading 40 %");
    EXPECT_EQ(n.child.status(), "loading 40 %");
    n.say("READY=1\nX_HOLDFAST_LISTEN=127.0.0.1:4711");
    EXPECT_EQ(n.child.phase(), Phase::running);
    EXPECT_EQ(n.child.listen(), "127.0.0.1:4711");
    EXPECT_EQ(n.child.restarts(), 0U);
}

TEST(Child, IsRestartedAfterPausesThatDoubleUpToTheLimit) {
    Nursery n;
    for (const int expected : {100, 200, 400, 800, 1600, 3200, 6400, 10'000, 10'000}) {
        n.run();
        n.die();
        EXPECT_EQ(n.pause(), milliseconds(expected));
        EXPECT_EQ(n.next(), Command::none);
        n.clock.advance(n.pause() - milliseconds(1));
        EXPECT_EQ(n.next(), Command::none);
        n.clock.advance(milliseconds(1));
    }
    EXPECT_EQ(n.child.restarts(), 8U);
    EXPECT_EQ(n.child.deaths(), 9U);
}

TEST(Child, SpreadsRestartsByJitterOfAtMostAQuarter) {
    Nursery n;
    n.run();
    n.die(0.0);
    EXPECT_EQ(n.pause(), milliseconds(75));
}

TEST(Child, IsForgivenItsDeathsAfterALongHealthyLife) {
    Nursery n;
    for (int i = 0; i < 5; ++i) {
        n.run();
        n.die();
        n.clock.advance(n.pause());
    }
    n.run();
    n.clock.advance(seconds(30));
    n.die();
    EXPECT_EQ(n.pause(), milliseconds(100));
}

TEST(Child, CountsALongLoadAsNoHealthyLife) {
    Nursery n;
    n.start();
    n.die();
    n.clock.advance(n.pause());
    n.start();
    n.clock.advance(minutes(5));
    n.die();
    EXPECT_EQ(n.pause(), milliseconds(200));
}

TEST(Child, IsKilledOnceWhenItFallsSilent) {
    Nursery n;
    n.run();
    n.clock.advance(seconds(9));
    n.say("WATCHDOG=1");
    n.clock.advance(seconds(9));
    EXPECT_EQ(n.next(), Command::none);
    EXPECT_EQ(n.child.wake().at(), n.clock.now() + seconds(1));
    n.clock.advance(seconds(1));
    EXPECT_EQ(n.next(), Command::kill);
    EXPECT_EQ(n.child.kill_reason(), "no sign of progress for 10 s");
    EXPECT_EQ(n.next(), Command::none);
    EXPECT_TRUE(n.child.wake().is_never());
    n.die();
    EXPECT_EQ(n.child.phase(), Phase::waiting);
}

TEST(Child, MayBeSilentWhileItLoadsButNotForEver) {
    Nursery n;
    n.start();
    n.clock.advance(minutes(10) - seconds(1));
    EXPECT_EQ(n.next(), Command::none);
    n.clock.advance(seconds(1));
    EXPECT_EQ(n.next(), Command::kill);
    EXPECT_EQ(n.child.kill_reason(), "not ready after 600 s");
}

TEST(Child, IsNotBlamedForTheSleepOfTheMachine) {
    Nursery n;
    n.run();
    n.clock.advance(minutes(60));
    n.child.forgive(n.clock.now());
    EXPECT_EQ(n.next(), Command::none);
    n.clock.advance(seconds(10));
    EXPECT_EQ(n.next(), Command::kill);
}

TEST(Child, DrainsOnceThenIsKilledAndNeverStartsAgain) {
    Nursery n;
    n.run();
    n.child.stop(n.clock.now(), seconds(30));
    EXPECT_EQ(n.next(), Command::terminate);
    EXPECT_EQ(n.next(), Command::none);
    EXPECT_EQ(n.child.phase(), Phase::draining);
    n.clock.advance(seconds(29));
    EXPECT_EQ(n.next(), Command::none);
    n.clock.advance(seconds(1));
    EXPECT_EQ(n.next(), Command::kill);
    n.die();
    EXPECT_EQ(n.child.phase(), Phase::stopped);
    n.clock.advance(minutes(60));
    EXPECT_EQ(n.next(), Command::none);
}

TEST(Child, IsKilledAtOnceWhenThereIsNoPatience) {
    Nursery n;
    n.run();
    n.child.stop(n.clock.now(), seconds(30));
    EXPECT_EQ(n.next(), Command::terminate);
    n.child.stop(n.clock.now(), seconds(0));
    EXPECT_EQ(n.next(), Command::kill);
}

TEST(Child, StopsWithoutAProcessWhileItWaitsForItsBackOff) {
    Nursery n;
    n.run();
    n.die();
    n.child.stop(n.clock.now(), seconds(30));
    EXPECT_EQ(n.child.phase(), Phase::stopped);
    EXPECT_EQ(n.next(), Command::none);
}

TEST(Child, ThatStopsByItselfIsDrainingAndThenStartsAgain) {
    Nursery n;
    n.run();
    n.say("STOPPING=1");
    EXPECT_EQ(n.child.phase(), Phase::draining);
    n.clock.advance(seconds(32));  // silent, and still within its time
    EXPECT_EQ(n.next(), Command::none);
    n.clock.advance(seconds(1));
    EXPECT_EQ(n.next(), Command::kill);
    n.die();
    n.clock.advance(n.pause());
    EXPECT_EQ(n.next(), Command::start);
}

TEST(Child, KeepsNothingOfItsFormerLife) {
    Nursery n;
    n.run(100);
    n.say("X_HOLDFAST_LISTEN=127.0.0.1:1\nSTATUS=busy");
    n.die();
    EXPECT_EQ(n.child.pid(), 0);
    EXPECT_EQ(n.child.listen(), "");
    n.say("READY=1");  // a message of the dead
    EXPECT_EQ(n.child.phase(), Phase::waiting);
    n.clock.advance(n.pause());
    n.start(101);
    EXPECT_EQ(n.child.phase(), Phase::starting);
    EXPECT_EQ(n.child.status(), "");
}

TEST(Notification, DropsWhatCannotBeTrusted) {
    const auto news = parse_notification(
        "FDSTORE=1\nREADY=10\nnonsense\n=\n\nSTATUS=a\x1b[31mb\nX_HOLDFAST_LISTEN=1.2.3.4:5 "
        "state=running");
    EXPECT_FALSE(news.ready);
    EXPECT_EQ(news.status, "a [31mb");
    EXPECT_FALSE(news.listen.has_value());
    EXPECT_EQ(parse_notification("STATUS=" + std::string(5000, 'x')).status->size(), 200U);
    EXPECT_FALSE(
        parse_notification("X_HOLDFAST_LISTEN=" + std::string(500, '1')).listen.has_value());
}

}  // namespace
}  // namespace holdfast::keeper
