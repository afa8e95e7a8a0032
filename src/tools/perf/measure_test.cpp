#include "tools/perf/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include "inference/model/random.h"
#include "tools/perf/report.h"
#include "tools/perf/samples.h"
#include "tools/perf/table.h"
#include "tools/perf/work.h"

namespace holdfast::perf {
namespace {

using testing::HasSubstr;

Subject tiny() {
    Subject subject{.name = "tiny", .config = model::tiny_shape(), .weights = "bf16"};
    subject.config.context = 1'024;
    subject.step_weight_bytes =
        weight_bytes(*subject.device, subject.config, tensor::DataType::bf16)->step;
    subject.make = [config = subject.config](const model::LoadOptions& options) {
        return model::random_model(config, tensor::DataType::bf16, options);
    };
    return subject;
}

Options short_options() {
    return {.threads = {1, 2},
            .prompts = {8, 600},
            .batches = {1, 3},
            .tokens = 2,
            .depth = 20,
            .rounds = 1};
}

const Observer go_on{[](const Moment& /*moment*/) {}, [] { return false; }};

TEST(Measure, GivesEveryFigureOfEveryRound) {
    const auto report = measure(tiny(), short_options(), go_on);
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_FALSE(report->stopped);
    ASSERT_EQ(report->runs.size(), 2U);
    for (const perf::Run& run : report->runs) {
        EXPECT_EQ(run.bandwidth.size(), 1U);
        EXPECT_GT(run.bandwidth[0], 0);
        ASSERT_EQ(run.series.size(), 4U);
        for (const Series& one : run.series) {
            ASSERT_EQ(one.tokens_per_second.size(), 1U);
            EXPECT_GT(one.tokens_per_second[0], 0);
        }
    }
    EXPECT_EQ(report->runs[1].threads, 2U);
    EXPECT_EQ(report->runs[0].fingerprint, report->runs[1].fingerprint);
}

TEST(Measure, EndsWhenTheObserverSaysSoAndKeepsWhatItHas) {
    int shown = 0;
    // Loading, the warm-up's four figures, two of the first round, and the third is cut short.
    const Observer stops_at_eight{[&](const Moment& /*moment*/) { ++shown; },
                                  [&] { return shown >= 8; }};
    const auto report = measure(tiny(), short_options(), stops_at_eight);
    ASSERT_TRUE(report);
    EXPECT_TRUE(report->stopped);
    ASSERT_EQ(report->runs.size(), 1U);
    EXPECT_EQ(report->runs[0].series.size(), 2U);
    EXPECT_THAT(to_table(tiny(), short_options(), *report), HasSubstr("Stopped before"));

    const auto at_once =
        measure(tiny(), short_options(), {[](const Moment& /*moment*/) {}, [] { return true; }});
    ASSERT_TRUE(at_once);
    EXPECT_TRUE(at_once->stopped);
    EXPECT_TRUE(at_once->runs.empty());
}

TEST(Measure, RefusesWhatCannotBeMeasured) {
    const auto error_of = [](const Options& options) {
        const auto report = measure(tiny(), options, go_on);
        return report ? std::string() : report.error().what;
    };
    Options options = short_options();
    options.depth = 1'000;
    EXPECT_THAT(error_of(options), HasSubstr("context of 1024"));
    options = short_options();
    options.batches = {0};
    EXPECT_THAT(error_of(options), HasSubstr("batches"));
    options.batches.clear();
    options.prompts.clear();
    EXPECT_THAT(error_of(options), HasSubstr("nothing to measure"));
    options = short_options();
    options.rounds = 0;
    EXPECT_THAT(error_of(options), HasSubstr("rounds"));
    options = short_options();
    options.isa = "mmx";
    EXPECT_THAT(error_of(options), HasSubstr("mmx"));
}

TEST(Measure, WritesJsonWithAllRounds) {
    Options options = short_options();
    options.rounds = 3;
    const auto report = measure(tiny(), options, go_on);
    ASSERT_TRUE(report);
    simdjson::dom::parser parser;
    const auto root = parser.parse(to_json(tiny(), options, *report)).value();
    EXPECT_EQ(root["parameters"].get_uint64().value(), parameters(tiny().config));
    const auto run = root["runs"].at(0).value();
    EXPECT_EQ(run["read_bandwidth"]["rounds"].get_array().value().size(), 3U);
    EXPECT_EQ(run["tests"].get_array().value().size(), 4U);
    const auto decode = run["tests"].at(3).value();
    EXPECT_EQ(decode["phase"].get_string().value(), "decode");
    EXPECT_EQ(decode["batch"].get_uint64().value(), 3U);
    EXPECT_EQ(decode["tokens_per_second"]["rounds"].get_array().value().size(), 3U);
    EXPECT_GT(decode["bandwidth_share"].get_double().value(), 0);
    EXPECT_TRUE(run["tests"].at(0)["bandwidth_share"].error());
}

TEST(Measure, CountsWhatADecodeStepReads) {
    const Subject subject = tiny();
    const Options options = short_options();
    const Series series{Phase::decode, 3, 2, {}};
    // Three sequences at the 21st and 22nd position: 21.5 positions each.
    const double kv = kv_bytes_per_token(*subject.device, subject.config, tensor::KvType::f32);
    EXPECT_DOUBLE_EQ(step_bytes(subject, options, series),
                     static_cast<double>(subject.step_weight_bytes) + 3 * 21.5 * kv);
}

TEST(Samples, HaveAMedianAndASpread) {
    const Summary odd = summarize({5, 1, 3});
    EXPECT_EQ(odd.median, 3);
    EXPECT_EQ(odd.min, 1);
    EXPECT_EQ(odd.max, 5);
    EXPECT_EQ(summarize({4, 1, 2, 3}).median, 2.5);
}

TEST(Table, WritesNumbersWithThreeDigits) {
    EXPECT_EQ(format_bytes(3.554e9), "3.55 GB");
    EXPECT_EQ(format_bytes(12), "12 B");
    EXPECT_EQ(format_rate(16.94), "16.9");
    EXPECT_EQ(format_rate(5'402.3), "5402");
}

}  // namespace
}  // namespace holdfast::perf
