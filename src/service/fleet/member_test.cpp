#include "service/fleet/member.h"

#include <gtest/gtest.h>

namespace holdfast::fleet {

using namespace std::chrono_literals;

class MemberTest : public testing::Test {
protected:
    static Target target(const upstream::Kind& kind, std::string model = "") {
        Target target;
        target.id = "x";
        target.url.host = "127.0.0.1";
        target.url.port = 1234;
        target.kind = &kind;
        target.model = std::move(model);
        return target;
    }
    Member member(const upstream::Kind& kind, std::string model = "") {
        return {target(kind, std::move(model)), options, lives};
    }
    Member kept() { return {"a", options, lives}; }
    static upstream::RosterEntry entry(int pid, upstream::ProcessState state, std::string listen) {
        upstream::RosterEntry entry;
        entry.id = "a";
        entry.pid = pid;
        entry.state = state;
        entry.listen = std::move(listen);
        return entry;
    }
    static Probed worker(std::string life, bool ready = true) {
        Probed probed;
        probed.answer.ready = ready;
        probed.answer.work = 3;
        probed.answer.progress = 1;
        probed.instance_life = std::move(life);
        probed.fingerprint = "f00";
        probed.pid = 4711;
        probed.models = {upstream::ListedModel{"tiny-r1", 8192}};
        return probed;
    }
    static Probed external(std::vector<upstream::ListedModel> models) {
        Probed probed;
        probed.answer.ready = true;
        probed.models = std::move(models);
        return probed;
    }
    static Probed offering(std::optional<upstream::Offer> offer) {
        Probed probed;
        probed.answer.ready = true;
        probed.offer_asked = true;
        probed.offer = offer;
        return probed;
    }
    void answer(Member& member, Probed probed) {
        clock.advance(1ms);
        member.probed(member.life(), clock.now(), clock.now(), std::move(probed));
    }
    void refuse(Member& member) {
        clock.advance(1ms);
        member.probed(member.life(), clock.now(), clock.now(),
                      std::unexpected(ProbeError{ProbeFailure::unreachable, "refused"}));
    }
    Instance shown(const Member& member) const { return member.instance(clock.now()); }

    base::FakeClock clock;
    HealthOptions options;
    LifeNumbers lives;
};

TEST_F(MemberTest, LearnsWhoAWorkerIsFromItsAnswer) {
    Member one = member(upstream::holdfast_kind);
    EXPECT_EQ(shown(one).state, State::starting);
    answer(one, worker("life-1"));
    const Instance instance = shown(one);
    EXPECT_EQ(instance.state, State::ready);
    EXPECT_EQ(instance.model, "tiny-r1");
    EXPECT_EQ(instance.upstream_model, "tiny-r1");
    EXPECT_EQ(instance.fingerprint, "f00");
    EXPECT_EQ(instance.context, 8192U);
    EXPECT_EQ(instance.pid, 4711);
    EXPECT_EQ(instance.reported_load, 3U);
}

TEST_F(MemberTest, ShowsAConfiguredNameToClientsAndTheInstancesOwnNameToIt) {
    Member one = member(upstream::holdfast_kind, "deepseek-r1:7b");
    EXPECT_EQ(shown(one).model, "deepseek-r1:7b");
    answer(one, worker("life-1"));
    EXPECT_EQ(shown(one).model, "deepseek-r1:7b");
    EXPECT_EQ(shown(one).upstream_model, "tiny-r1");
}

TEST_F(MemberTest, BeginsANewLifeWhenTheWorkerIsAnotherProcess) {
    Member one = member(upstream::holdfast_kind);
    answer(one, worker("life-1"));
    const Instance before = shown(one);
    before.load->outstanding = 5;
    answer(one, worker("life-2"));
    const Instance after = shown(one);
    EXPECT_EQ(after.state, State::ready);
    EXPECT_NE(after.life, before.life);
    EXPECT_NE(after.load, before.load);
    EXPECT_EQ(after.load->outstanding, 0U);
    EXPECT_EQ(after.restarts, 1U);
}

TEST_F(MemberTest, DropsReportsAndProbesOfAnEarlierLife) {
    Member one = member(upstream::holdfast_kind);
    answer(one, worker("life-1"));
    const std::uint64_t old_life = one.life();
    answer(one, worker("life-2"));
    for (int i = 0; i < 10; ++i) {
        EXPECT_FALSE(one.reported(old_life, clock.now(), Outcome::sick));
        EXPECT_FALSE(one.reported(old_life, clock.now(), Outcome::lost));
    }
    one.probed(old_life, clock.now(), clock.now(),
               std::unexpected(ProbeError{ProbeFailure::silent, ""}));
    EXPECT_EQ(shown(one).state, State::ready);
    EXPECT_TRUE(one.reported(one.life(), clock.now(), Outcome::lost));
    EXPECT_EQ(shown(one).state, State::down);
}

TEST_F(MemberTest, ForgetsSicknessWithTheLifeThatHadIt) {
    Member one = member(upstream::holdfast_kind);
    answer(one, worker("life-1"));
    for (int i = 0; i < 3; ++i) one.reported(one.life(), clock.now(), Outcome::sick);
    EXPECT_TRUE(shown(one).breaker_open);
    answer(one, worker("life-2"));
    EXPECT_FALSE(shown(one).breaker_open);
    EXPECT_EQ(shown(one).state, State::ready);
}

TEST_F(MemberTest, FollowsTheKeeperThroughDeathAndRestart) {
    Member one = kept();
    EXPECT_FALSE(one.next_probe());
    one.follow(entry(10, upstream::ProcessState::starting, ""));
    EXPECT_FALSE(one.next_probe());
    EXPECT_EQ(shown(one).state, State::starting);
    one.follow(entry(10, upstream::ProcessState::starting, "127.0.0.1:5001"));
    ASSERT_TRUE(one.next_probe());
    EXPECT_EQ(one.next_probe()->url.port, 5001);
    refuse(one);
    EXPECT_EQ(shown(one).state, State::starting);
    answer(one, worker("life-1"));
    one.follow(entry(10, upstream::ProcessState::running, "127.0.0.1:5001"));
    EXPECT_EQ(shown(one).state, State::ready);
    const std::uint64_t life = one.life();

    upstream::RosterEntry dead = entry(0, upstream::ProcessState::down, "");
    dead.restarts = 1;
    one.follow(dead);
    EXPECT_EQ(shown(one).state, State::down);
    EXPECT_EQ(shown(one).pid, 0);
    EXPECT_EQ(shown(one).restarts, 1U);
    EXPECT_FALSE(one.next_probe());
    EXPECT_EQ(one.life(), life);

    one.follow(entry(11, upstream::ProcessState::starting, "127.0.0.1:5002"));
    EXPECT_NE(one.life(), life);
    EXPECT_EQ(shown(one).state, State::starting);
    EXPECT_EQ(shown(one).model, "tiny-r1");
    EXPECT_EQ(shown(one).fingerprint, "");
    answer(one, worker("life-2"));
    EXPECT_EQ(shown(one).state, State::ready);
}

TEST_F(MemberTest, KeepsItsLifeWhenTheRosterSaysTheSameAgain) {
    Member one = kept();
    one.follow(entry(10, upstream::ProcessState::running, "127.0.0.1:5001"));
    answer(one, worker("life-1"));
    const std::uint64_t life = one.life();
    one.follow(entry(10, upstream::ProcessState::running, "127.0.0.1:5001"));
    EXPECT_EQ(one.life(), life);
    EXPECT_EQ(shown(one).state, State::ready);
    one.follow(entry(10, upstream::ProcessState::draining, "127.0.0.1:5001"));
    EXPECT_EQ(one.life(), life);
    EXPECT_EQ(shown(one).state, State::draining);
    one.follow(entry(10, upstream::ProcessState::running, "127.0.0.1:5009"));
    EXPECT_NE(one.life(), life);
}

TEST_F(MemberTest, WaitsForAnAddressThatCanBeRead) {
    Member one = kept();
    one.follow(entry(10, upstream::ProcessState::running, "no port here"));
    EXPECT_FALSE(one.next_probe());
    EXPECT_EQ(shown(one).state, State::starting);
}

TEST_F(MemberTest, AsksAnExternalServerForItsModelsOncePerLife) {
    Member one = member(upstream::vllm_kind);
    EXPECT_TRUE(one.next_probe()->want_models);
    Probed silent_about_models;
    silent_about_models.answer.ready = true;
    answer(one, silent_about_models);
    EXPECT_EQ(shown(one).state, State::starting);
    EXPECT_TRUE(one.next_probe()->want_models);
    answer(one, external({{"r1", 32768}}));
    EXPECT_FALSE(one.next_probe()->want_models);
    answer(one, offering(upstream::Offer{}));
    EXPECT_EQ(shown(one).state, State::ready);
    EXPECT_EQ(shown(one).context, 32768U);
    const std::uint64_t life = one.life();
    refuse(one);
    EXPECT_EQ(shown(one).state, State::down);
    answer(one, silent_about_models);
    EXPECT_NE(one.life(), life);
    EXPECT_TRUE(one.next_probe()->want_models);
    answer(one, external({{"r1", 32768}}));
    answer(one, offering(upstream::Offer{}));
    EXPECT_EQ(shown(one).state, State::ready);
    EXPECT_EQ(shown(one).restarts, 1U);
}

TEST_F(MemberTest, AsksAnExternalServerWhatItOffersBeforeItIsReady) {
    Member one = member(upstream::vllm_kind);
    EXPECT_FALSE(one.next_probe()->want_offer);
    answer(one, external({{"r1", 32768}}));
    EXPECT_EQ(shown(one).reason, "has not been asked yet what it offers");
    EXPECT_TRUE(one.next_probe()->want_offer);
    EXPECT_EQ(one.next_probe()->model, "r1");
    // One that finds no time to say is ready all the same, and is asked again.
    answer(one, offering(std::nullopt));
    EXPECT_EQ(shown(one).state, State::ready);
    EXPECT_EQ(shown(one).peer.offer, upstream::vllm_kind.offer);
    EXPECT_TRUE(one.next_probe()->want_offer);
    const upstream::Offer all{.continues_text = true, .renders = true, .tells_ids = true};
    answer(one, offering(all));
    EXPECT_EQ(shown(one).peer.offer, all);
    EXPECT_FALSE(one.next_probe()->want_offer);
}

TEST_F(MemberTest, WantsATrialWhereRequestsStandStill) {
    Member one = member(upstream::vllm_kind);
    answer(one, external({{"r1", 32768}}));
    answer(one, offering(upstream::Offer{}));
    const auto doubtful_after = [&](base::Duration wait) {
        clock.advance(wait);
        one.watch_requests(clock.now());
        return one.next_probe()->want_trial;
    };
    EXPECT_FALSE(doubtful_after(1h));  // nobody asks anything
    const std::shared_ptr<Load> load = shown(one).load;
    load->outstanding = 1;
    EXPECT_FALSE(doubtful_after(1s));
    load->heard = 1;
    EXPECT_FALSE(doubtful_after(1s));
    EXPECT_FALSE(doubtful_after(1s));
    EXPECT_TRUE(doubtful_after(500ms));
    Probed shows_that_it_generates;
    shows_that_it_generates.answer.ready = true;
    shows_that_it_generates.tried = true;
    answer(one, shows_that_it_generates);
    EXPECT_FALSE(doubtful_after(1s));
    EXPECT_TRUE(doubtful_after(500ms));

    clock.advance(1ms);
    one.probed(one.life(), clock.now(), clock.now(),
               std::unexpected(ProbeError{ProbeFailure::stuck, "generates nothing"}));
    EXPECT_EQ(shown(one).state, State::ejected);
    EXPECT_EQ(shown(one).ejected_for, "no_progress");
    // That its front answers does not bring it back.
    load->outstanding = 0;
    EXPECT_TRUE(doubtful_after(1s));
    answer(one, shows_that_it_generates);
    EXPECT_EQ(shown(one).state, State::ready);
    EXPECT_FALSE(doubtful_after(1s));
}

TEST_F(MemberTest, DoubtsNoServerThatCannotTellHowFarItIs) {
    Member one = member(upstream::llama_server_kind);
    answer(one, external({{"r1", 32768}}));
    answer(one, offering(upstream::Offer{}));
    shown(one).load->outstanding = 1;
    one.watch_requests(clock.now());
    clock.advance(1h);
    one.watch_requests(clock.now());
    EXPECT_FALSE(one.next_probe()->want_trial);
}

TEST_F(MemberTest, PicksTheUpstreamNameFromTheList) {
    struct Case {
        std::string configured;
        std::vector<upstream::ListedModel> listed;
        std::string model, upstream;
    };
    const std::vector<Case> cases{
        {"", {{"only", 1}}, "only", "only"},
        {"", {{"first", 1}, {"second", 2}}, "first", "first"},
        {"second", {{"first", 1}, {"second", 2}}, "second", "second"},
        {"alias", {{"only", 1}}, "alias", "only"},
        {"alias", {{"first", 1}, {"second", 2}}, "alias", "alias"},
        {"alias", {}, "alias", "alias"},
    };
    for (const Case& one : cases) {
        Member instance = member(upstream::openai_kind, one.configured);
        answer(instance, external(one.listed));
        EXPECT_EQ(shown(instance).state, State::ready) << one.upstream;
        EXPECT_EQ(shown(instance).model, one.model);
        EXPECT_EQ(shown(instance).upstream_model, one.upstream);
    }
}

TEST_F(MemberTest, IsNotReadyWithoutAnyName) {
    Member one = member(upstream::openai_kind);
    answer(one, external({}));
    EXPECT_EQ(shown(one).state, State::starting);
    EXPECT_EQ(shown(one).reason, "lists no model and none is configured");
}

TEST_F(MemberTest, GivesExternalServersMoreTimeAndMeteredOnesFewerProbes) {
    EXPECT_EQ(member(upstream::holdfast_kind).next_probe()->silence_max, 1500ms);
    EXPECT_EQ(member(upstream::vllm_kind).next_probe()->silence_max, 5000ms);
    Member one = member(upstream::openai_kind, "m");
    EXPECT_EQ(one.probe_every(), 250ms);
    answer(one, external({}));
    EXPECT_EQ(one.probe_every(), 2000ms);
}

}  // namespace holdfast::fleet
