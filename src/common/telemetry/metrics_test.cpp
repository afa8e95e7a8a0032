#include "common/telemetry/metrics.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <thread>

#include "common/telemetry/process.h"

namespace holdfast::telemetry {

using testing::HasSubstr;
using testing::Not;

std::size_t occurrences(std::string_view text, std::string_view part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
    return count;
}

TEST(Registry, PrintsEachFamilyOnceWithItsHelpAndType) {
    Registry registry;
    registry.counter("b_requests_total", "Requests.", {{"code", "200"}}).add(3);
    registry.counter("b_requests_total", "Requests.", {{"code", "503"}}).add();
    registry.gauge("a_level", "Level.").set(0.25);
    EXPECT_EQ(registry.render(),
              "# HELP a_level Level.\n"
              "# TYPE a_level gauge\n"
              "a_level 0.25\n"
              "# HELP b_requests_total Requests.\n"
              "# TYPE b_requests_total counter\n"
              "b_requests_total{code=\"200\"} 3\n"
              "b_requests_total{code=\"503\"} 1\n");
}

TEST(Registry, GivesTheSameObjectForTheSameLabelsInAnyOrder) {
    Registry registry;
    Counter& first = registry.counter("x", "X.", {{"a", "1"}, {"b", "2"}});
    EXPECT_EQ(&first, &registry.counter("x", "Another text.", {{"b", "2"}, {"a", "1"}}));
    EXPECT_NE(&first, &registry.counter("x", "X.", {{"a", "2"}, {"b", "1"}}));
    EXPECT_THAT(registry.render(), HasSubstr("# HELP x X.\n"));
}

TEST(Registry, EscapesHelpAndLabelValues) {
    Registry registry;
    registry.gauge("x", "back\\slash \"quoted\"\nline", {{"v", "a\\b\"c\nd"}});
    EXPECT_EQ(registry.render(),
              "# HELP x back\\\\slash \"quoted\"\\nline\n"
              "# TYPE x gauge\n"
              "x{v=\"a\\\\b\\\"c\\nd\"} 0\n");
}

TEST(Registry, RepairsInvalidUtf8InLabelValues) {
    Registry registry;
    registry.gauge("x", "X.", {{"v", "a\xFF\xC3(\xED\xA0\x80 \xC3\xA4"}});
    EXPECT_THAT(registry.render(),
                HasSubstr("x{v=\"a\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFD \xC3\xA4\"} 0\n"));
}

TEST(Registry, CutsLongLabelValuesBetweenCharacters) {
    Registry registry;
    std::string value(Registry::value_bytes_max - 1, 'a');
    registry.gauge("x", "X.", {{"v", value + "\xC3\xA4zzz"}});
    EXPECT_THAT(registry.render(), HasSubstr("x{v=\"" + value + "\"} 0\n"));
}

TEST(Registry, PrintsSpecialNumbersInPrometheusWords) {
    Registry registry;
    registry.gauge("a", "A.").set(std::numeric_limits<double>::infinity());
    registry.gauge("b", "B.").set(-std::numeric_limits<double>::infinity());
    registry.gauge("c", "C.").set(std::nan(""));
    registry.mirrored_counter("d_total", "D.").set(1.5);
    const std::string page = registry.render();
    EXPECT_THAT(page, HasSubstr("\na +Inf\n"));
    EXPECT_THAT(page, HasSubstr("\nb -Inf\n"));
    EXPECT_THAT(page, HasSubstr("\nc NaN\n"));
    EXPECT_THAT(page, HasSubstr("# TYPE d_total counter\nd_total 1.5\n"));
}

TEST(Registry, SharesTheLastSeriesWhenInputMakesTooMany) {
    Registry registry;
    for (std::size_t i = 0; i < Registry::series_max + 500; ++i) {
        registry.counter("x_total", "X.", {{"model", fmt::format("m{}", i)}}).add();
    }
    const std::string page = registry.render();
    EXPECT_EQ(occurrences(page, "\nx_total{"), Registry::series_max);
    EXPECT_THAT(page, HasSubstr("x_total{model=\"m998\"} 1\n"));
    EXPECT_THAT(page, Not(HasSubstr("x_total{model=\"m999\"}")));
    EXPECT_THAT(page, HasSubstr("x_total{model=\"other\"} 501\n"));
}

TEST(Histogram, CountsCumulativelyWithInclusiveBounds) {
    Registry registry;
    const std::array bounds{0.5, 1.0, 2.5};
    Histogram& histogram = registry.histogram("t_seconds", "T.", bounds, {{"m", "r1"}});
    for (const double value : {0.1, 0.5, 0.75, 2.5, 7.0}) histogram.observe(value);
    EXPECT_EQ(registry.render(),
              "# HELP t_seconds T.\n"
              "# TYPE t_seconds histogram\n"
              "t_seconds_bucket{m=\"r1\",le=\"0.5\"} 2\n"
              "t_seconds_bucket{m=\"r1\",le=\"1\"} 3\n"
              "t_seconds_bucket{m=\"r1\",le=\"2.5\"} 4\n"
              "t_seconds_bucket{m=\"r1\",le=\"+Inf\"} 5\n"
              "t_seconds_sum{m=\"r1\"} 10.85\n"
              "t_seconds_count{m=\"r1\"} 5\n");
}

TEST(Histogram, SurvivesANumberThatIsNone) {
    Registry registry;
    const std::array bounds{1.0};
    registry.histogram("t", "T.", bounds).observe(std::nan(""));
    const std::string page = registry.render();
    EXPECT_THAT(page, HasSubstr("t_bucket{le=\"1\"} 0\n"));
    EXPECT_THAT(page, HasSubstr("t_bucket{le=\"+Inf\"} 1\n"));
    EXPECT_THAT(page, HasSubstr("t_sum 0\n"));
}

TEST(Histogram, HasBoundsThatReachFarEnoughForLongThinking) {
    EXPECT_EQ(first_token_bounds().back(), 2560.0);
    EXPECT_EQ(token_gap_bounds().back(), 80.0);
    EXPECT_EQ(request_bounds().back(), 7680.0);
    Registry registry;  // construction asserts that bounds rise
    registry.histogram("a", "A.", first_token_bounds());
    registry.histogram("b", "B.", token_gap_bounds());
    registry.histogram("c", "C.", request_bounds());
}

TEST(Registry, AsksTheCollectorsBeforeEachScrape) {
    Registry registry;
    int scrapes = 0;
    registry.on_collect([&] { registry.gauge("scrapes", "S.").set(++scrapes); });
    EXPECT_THAT(registry.render(), HasSubstr("\nscrapes 1\n"));
    EXPECT_THAT(registry.render(), HasSubstr("\nscrapes 2\n"));
}

TEST(Registry, LosesNoCountWhenManyThreadsRegisterUpdateAndScrape) {
    Registry registry;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&registry] {
                for (int i = 0; i < 2000; ++i) {
                    registry.counter("n_total", "N.", {{"i", fmt::format("{}", i % 7)}}).add();
                    registry.histogram("h", "H.", token_gap_bounds()).observe(1.0);
                    if (i % 500 == 0) registry.render();
                }
            });
        }
    }
    std::uint64_t sum = 0;
    for (int i = 0; i < 7; ++i) {
        sum += registry.counter("n_total", "N.", {{"i", fmt::format("{}", i)}}).value();
    }
    EXPECT_EQ(sum, 8000U);
    EXPECT_THAT(registry.render(), HasSubstr("h_sum 8000\nh_count 8000\n"));
}

TEST(RegistryDeathTest, RefusesOneNameForTwoKindsAndWrongNames) {
    Registry registry;
    registry.counter("x_total", "X.");
    EXPECT_DEATH(registry.gauge("x_total", "X."), "assertion failed");
    EXPECT_DEATH(registry.counter("1x", "X."), "assertion failed");
    EXPECT_DEATH(registry.counter("y", "Y.", {{"a-b", ""}}), "assertion failed");
}

TEST(ProcessMetrics, TellMemoryDescriptorsAndTimes) {
    Registry registry;
    add_process_metrics(registry);
    add_build_info(registry, "1.2.3", "gateway");
    const std::string page = registry.render();
    EXPECT_THAT(page, HasSubstr("holdfast_build_info{role=\"gateway\",version=\"1.2.3\"} 1\n"));
    EXPECT_GT(registry.gauge("process_resident_memory_bytes", "").value(), 1e6);
    EXPECT_GE(registry.gauge("process_open_fds", "").value(), 3);
    EXPECT_GE(registry.gauge("process_max_fds", "").value(), 3);
    EXPECT_GT(registry.mirrored_counter("process_cpu_seconds_total", "").value(), 0);
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    const double start = registry.gauge("process_start_time_seconds", "").value();
    EXPECT_LT(start, now + 2);
    EXPECT_GT(start, now - 86'400);
}

}  // namespace holdfast::telemetry
