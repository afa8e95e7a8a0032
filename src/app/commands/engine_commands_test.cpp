// The commands that look at models without a server: plan, perf and eval.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "app/commands/commands.h"
#include "app/commands/interrupt_flag.h"
#include "common/base/test_folder.h"
#include "tools/cli/test_capture.h"

namespace holdfast::commands {
namespace {

using cli::testing::Said;
using testing::HasSubstr;
using testing::Not;

constexpr const char* tiny = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

Said say(const std::vector<std::string>& arguments) {
    return cli::testing::capture(
        [&](const cli::Streams& streams) { return run(arguments, streams); });
}

void expect_refused(const std::vector<std::string>& arguments, int code, std::string_view reason) {
    const Said said = say(arguments);
    EXPECT_EQ(said.code, code) << said.error;
    EXPECT_THAT(said.error, HasSubstr(reason));
    EXPECT_EQ(said.output, "");
}

void expect_usage_error(const std::vector<std::string>& arguments, std::string_view reason) {
    expect_refused(arguments, usage_exit, reason);
}

void expect_failure(const std::vector<std::string>& arguments, std::string_view reason) {
    expect_refused(arguments, 1, reason);
}

TEST(PlanCommand, ListsWhatFitsOnACard) {
    const Said said = say({"plan", "--device", "4090", "--context", "8192"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("RTX 4090"));
    EXPECT_THAT(said.output, HasSubstr("r1-32b"));
    EXPECT_THAT(said.output, HasSubstr("r1-llama-70b does not fit"));
    const Said given = say({"plan", "--shape", "r1-1.5b", "--memory", "8GiB", "--bandwidth", "200",
                            "--weights", "q8_0", "-o", "json"});
    EXPECT_EQ(given.code, 0) << given.error;
    EXPECT_THAT(given.output, HasSubstr("\"memory_bytes\":8589934592,\"bytes_per_second\":2e+11"));
}

TEST(PlanCommand, SaysWhatAModelBecomesWhereATypeDoesNotFit) {
    const Said said = say({"plan", tiny, "--device", "4090", "--weights", "q4_k"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("q8_0 for q4_k"));
    const Said all = say({"plan", tiny, "--device", "4090"});
    EXPECT_THAT(all.output, Not(HasSubstr("q4_k")));
}

TEST(PlanCommand, MeasuresThisMachine) {
    const Said said = say({"plan", tiny});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("tiny-r1: 1.05 million parameters"));
    EXPECT_THAT(said.output, HasSubstr("bf16"));
}

TEST(PlanCommand, SaysWhatIsWrong) {
    expect_usage_error({"plan", "--device", "RTX 4900"}, "did you mean \"RTX");
    expect_usage_error({"plan", "--shape", "r1-8b"}, "did you mean \"r1-7b\"");
    expect_usage_error({"plan", tiny, "--shape", "tiny"}, "either a MODEL or a --shape");
    expect_usage_error({"plan", "--device", "4090", "--weights", "q4k"}, "did you mean \"q4_");
    expect_usage_error({"plan", "--device", "4090", "--kv", "q4"}, "--kv");
    expect_usage_error({"plan", "--device", "4090", "--memory", "24"}, "--memory: needs a unit");
    expect_usage_error({"plan", "--device", "4090", "--context", "0"}, "--context");
    expect_usage_error({"plan", "--device", "4090", "--api-price", "1"}, "--price-hour");
    expect_usage_error({"plan", "--device", "4090", "--power", "1"}, "--price-kwh");
    expect_usage_error({"plan", "--device", "4090", "--utilization", "2"}, "--utilization");
    expect_usage_error({"plan", "--bandwidth", "0"}, "--bandwidth");
    expect_failure({"plan", "/none"}, "/none");
}

TEST(PerfCommand, MeasuresAModel) {
    const Said said = say({"perf", tiny, "-p", "16", "-b", "1,2", "-n", "2", "-r", "1", "-t", "1",
                           "--weights", "q8_0", "--kv", "q8"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("q8_0 from bf16"));
    EXPECT_THAT(said.output, HasSubstr("decode 2 x 2"));
    const Said json = say({"perf", "--shape", "tiny", "-p", "0", "-b", "1", "-n", "1", "-r", "1",
                           "-t", "1", "-o", "json"});
    EXPECT_EQ(json.code, 0) << json.error;
    EXPECT_THAT(json.output, HasSubstr("\"weights\":\"bf16, random\""));
}

TEST(PerfCommand, WritesARandomModelThatItCanMeasure) {
    const base::testing::TemporaryFolder folder;
    const std::string path = folder.path() + "/random.gguf";
    EXPECT_EQ(say({"perf", "--shape", "tiny", "--weights", "q8_0", "--write", path}).code, 0);
    const Said said = say({"perf", path, "-p", "0", "-b", "1", "-n", "1", "-r", "1", "-t", "1"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("random.gguf, weights q8_0"));
    expect_usage_error({"perf", tiny, "--write", path}, "--write");
}

TEST(PerfCommand, SaysWhatIsWrong) {
    expect_usage_error({"perf"}, "either a MODEL or a --shape");
    expect_usage_error({"perf", "--shape", "tinny"}, "did you mean \"tiny\"");
    expect_usage_error({"perf", "--shape", "tiny", "-b", "x"}, "--batches");
    expect_usage_error({"perf", "--shape", "tiny", "--numerics", "fast"}, "--numerics");
    expect_usage_error({"perf", "--shape", "tiny", "-p", "100000"}, "context");
    expect_usage_error({"perf", "--shape", "tiny", "--weights", "int4"}, "--weights");
    expect_usage_error({"perf", "--shape", "tiny", "--isa", "mmx"}, "mmx");
}

TEST(EvalCommand, ComparesPrecisions) {
    const Said said = say({"eval", tiny, "--weights", "q8_0", "--limit", "3", "-t", "1"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("3 problems of"));
    EXPECT_THAT(said.output, HasSubstr("3/3"));
}

TEST(EvalCommand, SaysWhatItUsesInPlaceOfATypeThatDoesNotFit) {
    const Said said = say({"eval", tiny, "--weights", "q4_k,q8", "--limit", "2", "-t", "1"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("q8_0 for q4_k  "));
    EXPECT_THAT(said.output, HasSubstr("q8_0  "));
}

TEST(EvalCommand, RecordsAndComparesWithTheRecord) {
    const base::testing::TemporaryFolder folder;
    const std::string record = folder.path() + "/record.jsonl";
    EXPECT_EQ(say({"eval", tiny, "--limit", "2", "--record", record, "-t", "1"}).code, 0);
    const Said said = say({"eval", tiny, "--weights", "q4_0", "--limit", "2", "--recorded", record,
                           "-t", "1", "-o", "json"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_THAT(said.output, HasSubstr("\"reference\":\"bf16 (recorded)\""));
    const Said other = say({"eval", tiny, "--limit", "3", "--recorded", record, "-t", "1"});
    EXPECT_EQ(other.code, 1);
    EXPECT_THAT(other.error, HasSubstr("another text"));
}

TEST(EvalCommand, SaysWhatIsWrong) {
    expect_usage_error({"eval"}, "MODEL");
    expect_usage_error({"eval", tiny, "--weights", "q9"}, "--weights");
    expect_failure({"eval", tiny, "--text", "/none"}, "--text: cannot read /none");
    expect_failure({"eval", tiny, "--problems", "/none"}, "cannot read /none");
    expect_usage_error({"eval", tiny, "--stride", "900"}, "--stride");
    expect_usage_error({"eval", tiny, "--against", tiny, "--weights", "q8_0"}, "exclude");
    expect_usage_error({"eval", tiny, "--record", "a", "--recorded", "b"}, "exclude");
}

TEST(EngineCommands, FailAlikeWhereAModelIsMissingOrDamaged) {
    const base::testing::TemporaryFolder folder;
    const std::string out = folder.path() + "/out.gguf", damaged = folder.path() + "/damaged.gguf";
    folder.write("damaged.gguf", "GGUF");
    for (const std::string& model : {folder.path() + "/none", damaged}) {
        EXPECT_EQ(say({"eval", tiny, "--against", model, "--limit", "1", "-t", "1"}).code, 1);
        expect_failure({"plan", model}, model);
        expect_failure({"perf", model}, model);
        expect_failure({"eval", model}, model);
        expect_failure({"quantize", model, out, "--type", "q8_0"}, model);
        expect_failure({"worker", "--isolated", "--model", model, "--listen", "127.0.0.1:0"},
                       model);
    }
}

TEST(InterruptFlag, NotesTheFirstSignalAndLetsTheSecondThrough) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        const InterruptFlag flag;
        EXPECT_FALSE(flag.is_set());
        ::raise(signal);
        EXPECT_TRUE(flag.is_set());
        EXPECT_EQ(flag.exit_code(), 128 + signal);
        struct sigaction now = {};
        ::sigaction(signal, nullptr, &now);
        EXPECT_EQ(now.sa_handler, SIG_DFL);
    }
}

TEST(InterruptFlag, LeavesIgnoredWhatIsIgnored) {
    ::signal(SIGHUP, SIG_IGN);
    {
        const InterruptFlag flag;
        ::raise(SIGHUP);
        EXPECT_FALSE(flag.is_set());
    }
    EXPECT_EQ(::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

}  // namespace
}  // namespace holdfast::commands
