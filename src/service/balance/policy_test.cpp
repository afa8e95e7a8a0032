#include "service/balance/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>
#include <vector>

#include "common/base/random.h"

namespace holdfast::balance {

using testing::Each;

Ask ask(std::uint64_t random = 0) {
    Ask one;
    one.random = random;
    return one;
}

std::unique_ptr<Policy> make(std::string_view name) { return make_policy(name).value(); }

// Idle seats of instances of their own.
std::vector<Seat> idle(std::initializer_list<double> weights) {
    std::vector<Seat> seats;
    for (const double weight : weights) seats.push_back({.weight = weight, .key = seats.size()});
    return seats;
}

// How often each seat is chosen over many requests with independent random numbers.
std::vector<int> shares(Policy& policy, std::span<const Seat> seats, int requests) {
    std::vector<int> chosen(seats.size());
    for (int i = 0; i < requests; ++i) {
        const auto random = base::philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {1, 2});
        ++chosen[policy.choose(seats, ask((std::uint64_t{random[0]} << 32) | random[1])).value()];
    }
    return chosen;
}

TEST(Policies, AreListedWithNameAndSummary) {
    std::vector<std::string_view> names;
    for (const PolicyKind& kind : policies()) {
        names.push_back(kind.name);
        EXPECT_FALSE(kind.summary.empty());
    }
    EXPECT_THAT(names, testing::ElementsAre("least_outstanding", "round_robin", "weighted",
                                            "random", "power_of_two"));
}

TEST(Policies, RefuseAnUnknownNameAndTellTheKnownOnes) {
    const auto error = make_policy("round_robbin").error();
    EXPECT_EQ(error.code, base::Code::invalid);
    EXPECT_EQ(error.what,
              "must be one of least_outstanding, round_robin, weighted, random, power_of_two, not "
              "\"round_robbin\"; did you mean \"round_robin\"?");
}

// What holds for every policy.
class EveryPolicy : public testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Listed, EveryPolicy,
                         testing::Values("least_outstanding", "round_robin", "weighted", "random",
                                         "power_of_two"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(EveryPolicy, ChoosesNothingFromNothing) {
    EXPECT_EQ(make(GetParam())->choose({}, ask()), std::nullopt);
}

TEST_P(EveryPolicy, ChoosesTheOnlySeatHoweverLoaded) {
    const std::vector<Seat> seats{{.outstanding = std::numeric_limits<std::uint32_t>::max() - 1,
                                   .reported_load = 7,
                                   .weight = 0.001}};
    for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(make(GetParam())->choose(seats, ask(i)), 0U);
}

TEST_P(EveryPolicy, NeverChoosesASeatWithoutWeight) {
    auto seats = idle({0, 1, -1});
    seats[1].outstanding = 9;
    const auto policy = make(GetParam());
    for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(policy->choose(seats, ask(i)), 1U);
    EXPECT_EQ(policy->choose(idle({0, 0}), ask()), std::nullopt);
}

TEST_P(EveryPolicy, SharesEvenlyAmongEqualSeats) {
    const auto seats = idle({1, 1, 1});
    EXPECT_THAT(shares(*make(GetParam()), seats, 3000),
                Each(testing::AllOf(testing::Gt(900), testing::Lt(1100))));
}

TEST_P(EveryPolicy, SharesByWeightOverTime) {
    auto seats = idle({3, 1});
    std::vector<int> chosen(2);
    const auto policy = make(GetParam());
    for (std::uint64_t i = 0; i < 400; ++i) {  // nobody finishes: load mirrors the choices
        const auto seat = policy->choose(seats, ask(i)).value();
        ++chosen[seat];
        ++seats[seat].outstanding;
    }
    const int deviation = GetParam() == "random" ? 26 : 3;  // three times the binomial's
    EXPECT_NEAR(chosen[0], 300, deviation);
}

TEST_P(EveryPolicy, ServesManyLoopsAtOnceAndStaysFair) {
    const auto seats = idle({1, 1, 1, 1});
    const auto policy = make(GetParam());
    std::vector<std::atomic<int>> chosen(seats.size());
    {
        std::vector<std::jthread> loops;
        for (std::uint32_t loop = 0; loop < 4; ++loop) {
            loops.emplace_back([&, loop] {
                for (std::uint32_t i = 0; i < 4000; ++i) {
                    const auto random = base::philox({i, loop, 0, 0}, {3, 4});
                    ++chosen[policy->choose(seats, ask(random[0])).value()];
                }
            });
        }
    }
    for (const auto& count : chosen) EXPECT_NEAR(count.load(), 4000, 250);
}

TEST(LeastOutstanding, PrefersTheSeatWithFewestExchanges) {
    const std::vector<Seat> seats{
        {.outstanding = 3}, {.outstanding = 1, .reported_load = 50}, {.outstanding = 2}};
    for (std::uint64_t i = 0; i < 20; ++i) {
        EXPECT_EQ(make("least_outstanding")->choose(seats, ask(i)), 1U);
    }
}

TEST(LeastOutstanding, BreaksTiesByTheLoadThatTheInstanceReports) {
    const std::vector<Seat> seats{{.outstanding = 1, .reported_load = 9},
                                  {.outstanding = 1, .reported_load = 2},
                                  {.outstanding = 1, .reported_load = 3}};
    for (std::uint64_t i = 0; i < 20; ++i) {
        EXPECT_EQ(make("least_outstanding")->choose(seats, ask(i)), 1U);
    }
}

TEST(LeastOutstanding, SendsTheFirstExchangeToTheHeavierOfTwoIdleSeats) {
    const std::vector<Seat> seats{{.weight = 1}, {.weight = 2}};
    EXPECT_EQ(make("least_outstanding")->choose(seats, ask()), 1U);
}

TEST(LeastOutstanding, IsPureSoThatTheSameAskGivesTheSameSeat) {
    const std::vector<Seat> seats(5);
    const auto policy = make("least_outstanding");
    for (std::uint64_t i = 0; i < 50; ++i) {
        EXPECT_EQ(policy->choose(seats, ask(i)), policy->choose(seats, ask(i)));
    }
}

TEST(LeastOutstanding, SharesEvenlyAmongTheEqualOnesOnly) {
    std::vector<Seat> seats(4);
    seats[2].outstanding = 1;
    const auto chosen = shares(*make("least_outstanding"), seats, 3000);
    EXPECT_EQ(chosen[2], 0);
    for (const SeatIndex i : {0U, 1U, 3U}) EXPECT_NEAR(chosen[i], 1000, 100);
}

TEST(RoundRobin, TakesStrictTurnsAmongEqualWeights) {
    const std::vector<Seat> seats(3);
    const auto policy = make("round_robin");
    std::vector<SeatIndex> order;
    for (int i = 0; i < 6; ++i) order.push_back(policy->choose(seats, ask()).value());
    EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(RoundRobin, SpreadsAHeavySeatsTurnsWithoutBursts) {
    const std::vector<Seat> seats{{.weight = 1}, {.weight = 1}, {.weight = 2}};
    const auto policy = make("round_robin");
    int in_a_row = 0, longest = 0;
    for (int i = 0; i < 1000; ++i) {
        in_a_row = policy->choose(seats, ask()) == 2U ? in_a_row + 1 : 0;
        longest = std::max(longest, in_a_row);
    }
    EXPECT_LE(longest, 2);
}

TEST(Weighted, GivesExactSharesInEveryCycleAndNoBursts) {
    const auto seats = idle({5, 1, 1});
    const auto policy = make("weighted");
    for (int cycle = 0; cycle < 3; ++cycle) {
        std::vector<SeatIndex> order;
        for (int i = 0; i < 7; ++i) order.push_back(policy->choose(seats, ask()).value());
        EXPECT_THAT(order, testing::ElementsAre(0, 0, 1, 0, 2, 0, 0)) << cycle;
    }
}

TEST(Weighted, OwesNothingForTheTimeThatASeatWasAway) {
    const auto policy = make("weighted");
    const auto all = idle({1, 1, 1});
    const std::vector<Seat> without_first{all[1], all[2]};
    for (int i = 0; i < 3; ++i) EXPECT_EQ(policy->choose(all, ask()), SeatIndex(i));
    for (int i = 0; i < 100; ++i) EXPECT_EQ(policy->choose(without_first, ask()), SeatIndex(i % 2));
    for (int i = 0; i < 9; ++i) EXPECT_EQ(policy->choose(all, ask()), SeatIndex(i % 3));
}

TEST(PowerOfTwo, NeverChoosesTheBusiestOfThree) {
    auto seats = idle({1, 1, 1});
    seats[1].outstanding = 5;
    seats[2].outstanding = 2;
    const auto chosen = shares(*make("power_of_two"), seats, 3000);
    EXPECT_EQ(chosen[1], 0);
    EXPECT_NEAR(chosen[0], 2000, 100);  // whenever it is drawn at all: two pairs of three
    EXPECT_NEAR(chosen[2], 1000, 100);
}

TEST(PowerOfTwo, KeepsTheLongestQueueShortWhereChanceAloneDoesNot) {
    const auto longest = [](std::string_view name) {
        std::vector<Seat> seats(32);
        for (SeatIndex i = 0; i < seats.size(); ++i) seats[i].key = i;
        const auto policy = make(name);
        for (std::uint64_t i = 0; i < 320; ++i) ++seats[*policy->choose(seats, ask(i))].outstanding;
        return std::ranges::max(seats, {}, &Seat::outstanding).outstanding;
    };
    EXPECT_LE(longest("power_of_two"), 12U);
    EXPECT_GE(longest("random"), 15U);
}

TEST(Random, SharesByWeightWhateverTheLoad) {
    auto seats = idle({1, 2, 1});
    seats[1].outstanding = 1'000;
    const auto chosen = shares(*make("random"), seats, 4000);
    EXPECT_NEAR(chosen[0], 1000, 100);
    EXPECT_NEAR(chosen[1], 2000, 100);
}

}  // namespace holdfast::balance
