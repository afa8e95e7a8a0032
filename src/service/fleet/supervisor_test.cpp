#include "service/fleet/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <thread>

namespace holdfast::fleet {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Instances by port, each with the answer it gives now. A missing one refuses.
class FakeProber final : public Prober {
public:
    loop::Task<ProbeResult> probe(ProbeAsk ask) override {
        ++asked[ask.url.port];
        const auto found = answers.find(ask.url.port);
        if (found == answers.end()) {
            ProbeError refused{ProbeFailure::unreachable, "connection refused"};
            co_return std::unexpected(std::move(refused));
        }
        co_return found->second;
    }

    std::map<std::uint16_t, ProbeResult> answers;
    std::map<std::uint16_t, int> asked;
};

// A fleet on a loop that the test turns until something holds. Waits for events only: the
// patience ends a test that would never end.
class SupervisorTest : public testing::Test {
protected:
    static constexpr auto patience = 60s;

    void make(std::vector<Target> targets, int roster = -1) {
        auto prober = std::make_unique<FakeProber>();
        prober_ = prober.get();
        FleetWorld world{loop,
                         clock,
                         metrics,
                         std::move(prober),
                         base::UniqueFd(roster),
                         [this] { keeper_gone = true; }};
        HealthOptions options;
        options.probe_every = 1ms;
        fleet = make_fleet(std::move(world), std::move(targets), options);
        fleet->subscribe([this](const auto& snapshot) {
            EXPECT_EQ(snapshot, fleet->snapshot());
            ++published;
        });
    }
    ~SupervisorTest() override {
        fleet.reset();
        loop.run_for(patience);  // the tasks end by themselves; else this takes its time
        EXPECT_TRUE(loop.stopped());
    }

    static Target target(std::string id, std::uint16_t port) {
        Target target;
        target.id = std::move(id);
        target.url.host = "127.0.0.1";
        target.url.port = port;
        return target;
    }
    static Probed worker(std::string life) {
        Probed probed;
        probed.answer.ready = true;
        probed.instance_life = std::move(life);
        probed.models = {upstream::ListedModel{"tiny-r1", 8192}};
        return probed;
    }
    const Instance* find(const std::string& id) {
        held_ = fleet->snapshot();
        for (const Instance& instance : held_->instances) {
            if (instance.id == id) return &instance;
        }
        return nullptr;
    }
    bool is(const std::string& id, State state) {
        const Instance* instance = find(id);
        return instance != nullptr && instance->state == state;
    }
    [[nodiscard]] bool turn_until(const std::function<bool()>& holds) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!holds()) {
            if (std::chrono::steady_clock::now() > end) return false;
            loop.run_one_for(100ms);
        }
        return true;
    }

    loop::Loop loop{1};
    base::SystemClock clock;
    telemetry::Registry metrics;
    std::unique_ptr<Fleet> fleet;
    FakeProber* prober_ = nullptr;
    std::shared_ptr<const Snapshot> held_;
    int published = 0;
    bool keeper_gone = false;
};

struct RosterPair {
    RosterPair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
        keeper.reset(ends[0]);
        gateway.reset(ends[1]);
    }
    void send(std::string_view packet) {
        EXPECT_EQ(::send(keeper.get(), packet.data(), packet.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(packet.size()));
    }
    base::UniqueFd keeper, gateway;
};

TEST_F(SupervisorTest, ShowsAllTargetsBeforeTheFirstProbe) {
    make({target("a", 1), target("b", 2)});
    ASSERT_EQ(fleet->snapshot()->instances.size(), 2U);
    EXPECT_TRUE(is("a", State::starting));
    EXPECT_TRUE(is("b", State::starting));
}

TEST_F(SupervisorTest, MakesInstancesReadyAndDownAsTheirProbesGo) {
    make({target("a", 1), target("b", 2)});
    prober_->answers[1] = worker("life-1");
    EXPECT_TRUE(turn_until([&] { return is("a", State::ready) && is("b", State::down); }));
    prober_->answers[2] = worker("life-2");
    prober_->answers.erase(1);
    EXPECT_TRUE(turn_until([&] { return is("a", State::down) && is("b", State::ready); }));
    EXPECT_GE(published, 2);
}

TEST_F(SupervisorTest, DatesAModelOnceForAllLivesOfItsInstances) {
    make({target("a", 1), target("b", 2)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    const std::int64_t created = find("a")->created;
    EXPECT_GT(created, 0);
    EXPECT_EQ(find("b")->created, 0);
    prober_->answers[1] = worker("life-2");
    prober_->answers[2] = worker("life-3");
    ASSERT_TRUE(turn_until([&] { return is("b", State::ready); }));
    EXPECT_EQ(find("a")->created, created);
    EXPECT_EQ(find("b")->created, created);
}

TEST_F(SupervisorTest, PublishesOnlyWhenSomethingChanged) {
    make({target("a", 1)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    const int before = published;
    const auto snapshot = fleet->snapshot();
    const int asked = prober_->asked[1];
    ASSERT_TRUE(turn_until([&] { return prober_->asked[1] > asked + 20; }));
    EXPECT_EQ(published, before);
    EXPECT_EQ(fleet->snapshot(), snapshot);
}

TEST_F(SupervisorTest, ShowsALossAtOnceAndProbesAgainBeforeItTrusts) {
    make({target("a", 1)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    bool seen_down = false;
    fleet->subscribe([&](const auto& snapshot) {
        seen_down = seen_down || snapshot->instances[0].state == State::down;
    });
    const int asked = prober_->asked[1];
    fleet->report("a", find("a")->life, Outcome::lost);
    EXPECT_TRUE(turn_until([&] { return seen_down && is("a", State::ready); }));
    EXPECT_GT(prober_->asked[1], asked);
}

TEST_F(SupervisorTest, IgnoresReportsAboutOtherLivesAndOtherInstances) {
    make({target("a", 1)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    const int before = published;
    for (int i = 0; i < 10; ++i) {
        fleet->report("a", find("a")->life + 1, Outcome::sick);
        fleet->report("nobody", find("a")->life, Outcome::lost);
    }
    const int asked = prober_->asked[1];
    ASSERT_TRUE(turn_until([&] { return prober_->asked[1] > asked + 5; }));
    EXPECT_EQ(published, before);
}

TEST_F(SupervisorTest, TakesReportsFromAnyThread) {
    make({target("a", 1)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    const std::uint64_t life = find("a")->life;
    {
        std::vector<std::jthread> gateways;
        for (int i = 0; i < 3; ++i) {
            gateways.emplace_back([&] { fleet->report("a", life, Outcome::sick); });
        }
    }
    ASSERT_TRUE(turn_until([&] { return is("a", State::ejected); }));
    EXPECT_TRUE(find("a")->breaker_open);
    const std::string page = metrics.render();
    EXPECT_THAT(page, HasSubstr("holdfast_circuit_open{instance=\"a\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_ejections_total{instance=\"a\",reason=\"breaker\"} 1\n"));
    std::jthread([&] { fleet->report("a", life, Outcome::ok); }).join();
    EXPECT_TRUE(turn_until([&] { return is("a", State::ready); }));
}

TEST_F(SupervisorTest, PushesABusyInstanceBackForAMoment) {
    make({target("a", 1)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready); }));
    fleet->report("a", find("a")->life, Outcome::busy);
    ASSERT_TRUE(turn_until([&] { return find("a")->pushed_back; }));
    EXPECT_TRUE(is("a", State::ready));
    EXPECT_TRUE(turn_until([&] { return !find("a")->pushed_back; }));
}

TEST_F(SupervisorTest, ExportsTheFleetsState) {
    make({target("a", 1), target("b", 2)});
    prober_->answers[1] = worker("life-1");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready) && is("b", State::down); }));
    std::string page = metrics.render();
    EXPECT_THAT(page, HasSubstr("holdfast_instance_up{instance=\"a\",model=\"tiny-r1\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_instance_state{instance=\"a\",state=\"ready\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_instance_state{instance=\"b\",state=\"down\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_instance_state{instance=\"b\",state=\"ready\"} 0\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_ready_instances{model=\"tiny-r1\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_instance_restarts_total{instance=\"a\"} 0\n"));
    prober_->answers[1] = worker("life-2");
    ASSERT_TRUE(turn_until([&] { return find("a")->restarts == 1; }));
    prober_->answers.erase(1);
    ASSERT_TRUE(turn_until([&] { return is("a", State::down); }));
    page = metrics.render();
    EXPECT_THAT(page, HasSubstr("holdfast_instance_up{instance=\"a\",model=\"tiny-r1\"} 0\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_instance_restarts_total{instance=\"a\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("holdfast_ready_instances{model=\"tiny-r1\"} 0\n"));
}

TEST_F(SupervisorTest, FollowsTheKeepersRoster) {
    RosterPair roster;
    make({}, roster.gateway.release());
    prober_->answers[5001] = worker("life-1");
    prober_->answers[5002] = worker("life-2");
    roster.send(
        "id=a pid=10 restarts=0 state=running listen=127.0.0.1:5001\n"
        "id=b pid=11 restarts=0 state=starting listen=-\n");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready) && is("b", State::starting); }));
    const std::uint64_t life = find("a")->life;
    const auto load = find("a")->load;

    roster.send(
        "id=a pid=12 restarts=1 state=running listen=127.0.0.1:5002\n"
        "id=b pid=11 restarts=0 state=draining listen=-\n");
    ASSERT_TRUE(turn_until([&] { return is("b", State::draining) && is("a", State::ready); }));
    EXPECT_NE(find("a")->life, life);
    EXPECT_NE(find("a")->load, load);
    EXPECT_EQ(find("a")->restarts, 1U);
    EXPECT_EQ(find("a")->url.port, 5002);

    roster.send("id=b pid=0 restarts=0 state=down listen=-\n");
    ASSERT_TRUE(turn_until([&] { return find("a") == nullptr && is("b", State::down); }));
    EXPECT_THAT(metrics.render(),
                HasSubstr("holdfast_instance_up{instance=\"a\",model=\"tiny-r1\"} 0\n"));
    EXPECT_FALSE(keeper_gone);
}

TEST_F(SupervisorTest, IgnoresMalformedPacketsAndGoesOn) {
    RosterPair roster;
    make({target("fixed", 7)}, roster.gateway.release());
    prober_->answers[5001] = worker("life-1");
    roster.send("id=a state=sleeping\n");
    roster.send("\xFF\xFE\x00garbage");
    roster.send(
        "id=fixed pid=9 state=running listen=127.0.0.1:5001\n"
        "id=a pid=10 restarts=0 state=running listen=127.0.0.1:5001\n");
    ASSERT_TRUE(turn_until([&] { return is("a", State::ready) && find("fixed") != nullptr; }));
    EXPECT_EQ(find("fixed")->url.port, 7);
    EXPECT_FALSE(keeper_gone);
}

TEST_F(SupervisorTest, TellsWhenTheKeeperIsGoneAndKeepsServing) {
    RosterPair roster;
    make({target("a", 1)}, roster.gateway.release());
    prober_->answers[1] = worker("life-1");
    roster.keeper.reset();
    EXPECT_TRUE(turn_until([&] { return keeper_gone && is("a", State::ready); }));
}

TEST_F(SupervisorTest, KeepsTheFirstOfTwoTargetsWithOneName) {
    make({target("a", 1), target("a", 2)});
    ASSERT_EQ(fleet->snapshot()->instances.size(), 1U);
    EXPECT_EQ(find("a")->url.port, 1);
}

}  // namespace holdfast::fleet
