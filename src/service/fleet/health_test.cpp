#include "service/fleet/health.h"

#include <gtest/gtest.h>

namespace holdfast::fleet {

using namespace std::chrono_literals;

// An instance under a clock that only the test moves. Every verb is one event.
class World {
public:
    Answer ready(std::uint64_t work = 0, std::uint64_t progress = 0) {
        Answer answer;
        answer.ready = true;
        answer.work = work;
        answer.progress = progress;
        return answer;
    }
    void after(base::Duration wait) { clock.advance(wait); }
    void answers(const Answer& answer) { health.answered(clock.now(), clock.now(), answer); }
    void answers_ready() { answers(ready()); }
    void fails(ProbeFailure failure, std::string_view why = "connection refused") {
        health.failed(clock.now(), clock.now(), failure, why);
    }
    void reports(Outcome outcome, int times = 1) {
        for (int i = 0; i < times; ++i) health.reported(clock.now(), outcome);
    }
    State state() const { return health.verdict().state; }
    std::string reason() const { return health.verdict().reason; }

    base::FakeClock clock;
    HealthOptions options;
    Health health{options, options.probe_silence_max};
};

TEST(Health, StartsUnknownAndBecomesReadyByTheFirstGoodProbe) {
    World world;
    EXPECT_EQ(world.state(), State::starting);
    EXPECT_EQ(world.reason(), "has not answered yet");
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
    EXPECT_EQ(world.reason(), "");
}

TEST(Health, ShowsLoadingWithItsReasonsUntilReady) {
    World world;
    Answer loading;
    loading.reasons = "loading 40 %";
    world.answers(loading);
    EXPECT_EQ(world.health.verdict(), (Verdict{State::starting, "loading 40 %"}));
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, EjectsAnInstanceThatSaysItIsNoLongerReady) {
    World world;
    world.answers_ready();
    Answer broken;
    broken.reasons = "the self-check failed";
    world.answers(broken);
    EXPECT_EQ(world.health.verdict(),
              (Verdict{State::ejected, "the self-check failed", "not_ready"}));
}

TEST(Health, EjectsTheSilentAndWantsTwoGoodProbesAfterwards) {
    World world;
    world.answers_ready();
    world.after(1500ms);
    world.fails(ProbeFailure::silent);
    EXPECT_EQ(world.health.verdict(),
              (Verdict{State::ejected, "no answer for 1.5 s", "no_answer"}));
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, CountsTheTwoGoodProbesInARow) {
    World world;
    world.answers_ready();
    world.fails(ProbeFailure::silent);
    world.answers_ready();
    world.fails(ProbeFailure::silent);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
}

TEST(Health, TakesASlowAnswerForAnAnswer) {
    World world;
    world.answers_ready();
    for (int i = 0; i < 100; ++i) {
        const auto sent = world.clock.now();
        world.after(1400ms);
        world.health.answered(sent, world.clock.now(), world.ready(64, 5 + i));
        EXPECT_EQ(world.state(), State::ready);
    }
}

TEST(Health, BlamesNobodyForSilenceWhileTheObserverStoodStill) {
    World world;
    world.answers_ready();
    const auto sent = world.clock.now();
    world.after(10s);  // the gateway was stopped and goes on
    world.health.observer_stalled(world.clock.now());
    world.health.failed(sent, world.clock.now(), ProbeFailure::silent, "");
    EXPECT_EQ(world.state(), State::ready);
    world.after(1ms);
    world.fails(ProbeFailure::silent);
    EXPECT_EQ(world.state(), State::ejected);
}

TEST(Health, EjectsWhoHasWorkButDoesNotMove) {
    World world;
    world.answers(world.ready(2, 77));
    for (int i = 0; i < 5; ++i) {
        world.after(250ms);
        world.answers(world.ready(2, 77));
        EXPECT_EQ(world.state(), State::ready);
    }
    world.after(250ms);
    world.answers(world.ready(2, 77));
    EXPECT_EQ(world.health.verdict(),
              (Verdict{State::ejected, "no progress for 1.5 s", "no_progress"}));
    world.answers(world.ready(2, 78));
    EXPECT_EQ(world.state(), State::ejected);
    world.after(250ms);
    world.answers(world.ready(2, 79));
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, LeavesALongPrefillAloneAsLongAsItMovesAtAll) {
    World world;
    for (std::uint64_t step = 0; step < 200; ++step) {
        world.answers(world.ready(64, step / 4));  // one layer's part a second, four probes
        EXPECT_EQ(world.state(), State::ready) << step;
        world.after(250ms);
    }
}

TEST(Health, LetsTheIdleStandStill) {
    World world;
    for (int i = 0; i < 100; ++i) {
        world.answers(world.ready(0, 77));
        EXPECT_EQ(world.state(), State::ready);
        world.after(1s);
    }
    world.answers(world.ready(1, 77));  // work has just come: its time starts now
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, ExpectsNoProgressFromServersThatDoNotTellIt) {
    World world;
    Answer external;
    external.ready = true;
    external.work = 5;
    for (int i = 0; i < 10; ++i) {
        world.answers(external);
        world.after(1s);
    }
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, StartsTheWatchAnewAfterTheObserverStoodStill) {
    World world;
    world.answers(world.ready(1, 5));
    world.after(10s);
    world.health.observer_stalled(world.clock.now());
    world.answers(world.ready(1, 5));
    EXPECT_EQ(world.state(), State::ready);
    world.after(1500ms);
    world.answers(world.ready(1, 5));
    EXPECT_EQ(world.state(), State::ejected);
}

TEST(Health, IsDownWhenUnreachableAndBackByOneGoodProbe) {
    World world;
    world.answers_ready();
    world.fails(ProbeFailure::unreachable, "connection refused");
    EXPECT_EQ(world.health.verdict(), (Verdict{State::down, "connection refused"}));
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, EjectsWhoAnswersGarbage) {
    World world;
    world.answers_ready();
    world.fails(ProbeFailure::garbage, "/readyz answered 500");
    EXPECT_EQ(world.health.verdict(),
              (Verdict{State::ejected, "/readyz answered 500", "bad_answer"}));
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, IsDownAtOnceWhenAnExchangeWasLostUntilAProbeSentLaterIsGood) {
    World world;
    world.answers_ready();
    const auto sent_before = world.clock.now();
    world.after(1ms);
    world.reports(Outcome::lost);
    EXPECT_EQ(world.state(), State::down);
    world.health.answered(sent_before, world.clock.now(), world.ready());
    EXPECT_EQ(world.state(), State::down);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, CountsManyLostExchangesOfOneDeathOnce) {
    World world;
    world.answers_ready();
    world.reports(Outcome::lost, 64);
    EXPECT_FALSE(world.health.breaker_open());
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, OpensTheBreakerForWhoLosesExchangesAgainAndAgainWhileProbesAreGood) {
    World world;
    for (int i = 0; i < 3; ++i) {
        world.answers_ready();
        world.reports(Outcome::lost);
        world.after(1ms);
    }
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
    EXPECT_TRUE(world.health.breaker_open());
}

TEST(Health, KeepsAHungInstanceHungWhenItsExchangesAreLost) {
    World world;
    world.answers_ready();
    world.fails(ProbeFailure::silent);
    world.reports(Outcome::lost);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
}

TEST(Health, OpensTheBreakerAfterThreeSickOutcomesInARow) {
    World world;
    world.answers_ready();
    world.reports(Outcome::sick, 2);
    EXPECT_EQ(world.state(), State::ready);
    world.reports(Outcome::ok);
    world.reports(Outcome::sick, 2);
    EXPECT_EQ(world.state(), State::ready);
    world.reports(Outcome::sick);
    EXPECT_EQ(world.health.verdict(), (Verdict{State::ejected, "3 failures in a row", "breaker"}));
}

TEST(Health, LetsOneProbeDecideWhenTheBreakersTimeIsOver) {
    World world;
    world.answers_ready();
    world.reports(Outcome::sick, 3);
    world.after(1999ms);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
    world.after(1ms);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
    world.reports(Outcome::sick);  // on trial: one is enough, and it takes twice as long
    EXPECT_EQ(world.state(), State::ejected);
    world.after(3999ms);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
    world.after(1ms);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, OpensTheBreakerAgainWhenTheDecidingProbeIsBad) {
    World world;
    world.answers_ready();
    world.reports(Outcome::sick, 3);
    world.after(2s);
    world.fails(ProbeFailure::garbage);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ejected);
    world.after(4s);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, NeverKeepsTheBreakerOpenForMoreThanThirtySeconds) {
    World world;
    world.answers_ready();
    world.reports(Outcome::sick, 3);
    for (int i = 0; i < 20; ++i) {
        world.after(30s);
        world.fails(ProbeFailure::unreachable);
    }
    world.after(30s);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, ClosesTheBreakerByAnAnswerThatCameToItsEndAndForgets) {
    World world;
    world.answers_ready();
    world.reports(Outcome::sick, 3);
    EXPECT_TRUE(world.health.suspect());
    world.reports(Outcome::ok);
    EXPECT_EQ(world.state(), State::ready);
    EXPECT_FALSE(world.health.suspect());
    world.reports(Outcome::sick, 3);
    world.after(2s);
    world.answers_ready();
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, TakesBusyForNoSicknessButPushesBackForAMoment) {
    World world;
    world.answers_ready();
    world.reports(Outcome::busy, 10);
    EXPECT_EQ(world.state(), State::ready);
    EXPECT_TRUE(world.health.pushed_back(world.clock.now()));
    world.after(250ms);
    EXPECT_FALSE(world.health.pushed_back(world.clock.now()));
}

TEST(Health, ObeysTheKeeper) {
    World world;
    world.answers_ready();
    world.health.process(upstream::ProcessState::draining);
    EXPECT_EQ(world.state(), State::draining);
    world.health.process(upstream::ProcessState::down);
    EXPECT_EQ(world.state(), State::down);
    EXPECT_EQ(world.reason(), "the process is not running");
    world.health.process(upstream::ProcessState::down, "exited with code 1");
    EXPECT_EQ(world.reason(), "the process is not running: exited with code 1");
    world.health.process(upstream::ProcessState::running);
    EXPECT_EQ(world.state(), State::ready);
}

TEST(Health, SeesTheInstanceDrainByItsOwnWord) {
    World world;
    world.answers_ready();
    Answer draining;
    draining.draining = true;
    draining.reasons = "draining";
    world.answers(draining);
    EXPECT_EQ(world.state(), State::draining);
}

TEST(Health, CallsAStartingProcessThatDoesNotListenYetStarting) {
    World world;
    world.health.process(upstream::ProcessState::starting);
    world.fails(ProbeFailure::unreachable);
    EXPECT_EQ(world.state(), State::starting);
    world.fails(ProbeFailure::silent);
    EXPECT_EQ(world.state(), State::starting);
    world.health.process(upstream::ProcessState::running);
    EXPECT_EQ(world.state(), State::ejected);
}

}  // namespace holdfast::fleet
