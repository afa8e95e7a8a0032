// The whole room over real sockets: a fleet, HTTP instances, the keeper's channel.
#include "service/fleet/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <optional>

#include "service/fleet/fake_instance.h"

namespace holdfast::fleet {

using namespace std::chrono_literals;
using testing::HasSubstr;

class FleetTest : public testing::Test {
protected:
    static constexpr auto patience = 60s;

    FleetTest() {
        options_.probe_every = 5ms;
        options_.probe_silence_max = 100ms;
        options_.progress_silence_max = 100ms;
    }
    // Also with a probe in flight the tasks end at once, and the loop runs out of work.
    ~FleetTest() override {
        fleet_.reset();
        a_.reset();
        b_.reset();
        loop_.run_for(patience);
        EXPECT_TRUE(loop_.stopped());
    }
    void make(std::vector<Target> targets, int roster = -1) {
        fleet_ = make_fleet(loop_, clock_, std::move(targets), roster, options_, metrics_);
    }
    static Target target(std::string id, const FakeInstance& instance,
                         const upstream::Kind& kind = upstream::holdfast_kind) {
        Target target;
        target.id = std::move(id);
        target.url = instance.url();
        target.kind = &kind;
        return target;
    }
    static std::string readyz(std::string_view life, int running = 0, int progress = 0) {
        return fmt::format(R"({{"ready":true,"model":"tiny-r1","instance_life":"{}",)"
                           R"("running":{},"waiting":0,"progress":{}}})",
                           life, running, progress);
    }
    Instance instance(const std::string& id) const {
        for (const Instance& one : fleet_->snapshot()->instances) {
            if (one.id == id) return one;
        }
        return {};
    }
    [[nodiscard]] bool turn_until(const std::string& id, State state) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (instance(id).id.empty() || instance(id).state != state) {
            if (std::chrono::steady_clock::now() > end) return false;
            loop_.run_one_for(100ms);
        }
        return true;
    }

    loop::Loop loop_{1};
    base::SystemClock clock_;
    telemetry::Registry metrics_;
    HealthOptions options_;
    std::optional<FakeInstance> a_{std::in_place, loop_, clock_};
    std::optional<FakeInstance> b_{std::in_place, loop_, clock_};
    std::unique_ptr<Fleet> fleet_;
};

TEST_F(FleetTest, EjectsAnInstanceThatHangsAndTakesItBackWhenItAnswersAgain) {
    a_->page("/readyz", 200, readyz("life-1"));
    make({target("a", *a_)});
    ASSERT_TRUE(turn_until("a", State::ready));
    a_->page("/readyz", FakeInstance::never);
    ASSERT_TRUE(turn_until("a", State::ejected));
    EXPECT_EQ(instance("a").reason, "no answer for 0.1 s");
    EXPECT_THAT(metrics_.render(),
                HasSubstr("holdfast_ejections_total{instance=\"a\",reason=\"no_answer\"} 1\n"));
    const std::uint64_t life = instance("a").life;
    a_->page("/readyz", 200, readyz("life-1"));
    ASSERT_TRUE(turn_until("a", State::ready));
    EXPECT_EQ(instance("a").life, life);
}

TEST_F(FleetTest, EjectsAnInstanceWhoseWorkStandsStill) {
    a_->page("/readyz", 200, readyz("life-1", 3, 77));
    make({target("a", *a_)});
    ASSERT_TRUE(turn_until("a", State::ejected));
    EXPECT_EQ(instance("a").reason, "no progress for 0.1 s");
    a_->page("/readyz", 200, readyz("life-1", 0, 78));
    EXPECT_TRUE(turn_until("a", State::ready));
}

TEST_F(FleetTest, NoticesADeathAndTheNextLifeBehindTheKeeper) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    const base::UniqueFd keeper(ends[0]);
    const auto tell = [&](int pid, const http::Url& url) {
        const std::string line = fmt::format("id=a pid={} restarts={} state=running listen={}:{}\n",
                                             pid, pid - 10, url.host, url.port);
        ASSERT_EQ(::send(keeper.get(), line.data(), line.size(), 0),
                  static_cast<ssize_t>(line.size()));
    };
    a_->page("/readyz", 200, readyz("life-1"));
    b_->page("/readyz", 200, readyz("life-2"));
    make({}, ends[1]);
    tell(10, a_->url());
    ASSERT_TRUE(turn_until("a", State::ready));
    const Instance before = instance("a");

    a_->die();
    ASSERT_TRUE(turn_until("a", State::down));
    EXPECT_EQ(instance("a").model, "tiny-r1");
    tell(11, b_->url());
    ASSERT_TRUE(turn_until("a", State::ready));
    EXPECT_NE(instance("a").life, before.life);
    EXPECT_NE(instance("a").load, before.load);
    EXPECT_EQ(instance("a").restarts, 1U);
    EXPECT_EQ(instance("a").url, b_->url());
}

TEST_F(FleetTest, KeepsWorkersAndExternalServersSideBySide) {
    a_->page("/readyz", 200, readyz("life-1"));
    b_->page("/health", 200);
    b_->page("/v1/models", 200, R"({"data":[{"id":"r1-7b","max_model_len":4096}]})");
    make({target("a", *a_), target("b", *b_, upstream::vllm_kind)});
    ASSERT_TRUE(turn_until("a", State::ready));
    ASSERT_TRUE(turn_until("b", State::ready));
    EXPECT_EQ(instance("b").model, "r1-7b");
    EXPECT_EQ(instance("b").context, 4096U);
    EXPECT_EQ(instance("b").pid, 0);
}

TEST_F(FleetTest, EndsWhileAProbeHangs) {
    a_->page("/readyz", FakeInstance::never);
    options_.probe_silence_max = 1h;
    make({target("a", *a_)});
    while (a_->asked().empty()) loop_.run_one();
}

}  // namespace holdfast::fleet
