#include "common/telemetry/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/telemetry/access.h"

namespace holdfast::telemetry {

using namespace std::chrono_literals;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr auto forever = 60s;

struct Pipe {
    Pipe() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        reader.reset(ends[0]);
        writer.reset(ends[1]);
    }
    // Everything until the writing end closes.
    std::string rest() {
        writer.reset();
        std::string text;
        std::array<char, 65'536> buffer{};
        for (ssize_t n = 0; (n = ::read(reader.get(), buffer.data(), buffer.size())) > 0;) {
            text.append(buffer.data(), static_cast<std::size_t>(n));
        }
        return text;
    }
    base::UniqueFd reader, writer;
};

LogOptions to(const Pipe& pipe) {
    LogOptions options;
    options.role = "worker a";
    options.fd = pipe.writer.get();
    return options;
}

std::size_t lines_of(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

TEST(Log, WritesTimeLevelRoleAndMessage) {
    Pipe pipe;
    {
        const Log log(to(pipe));
        spdlog::warn("instance {} is down", "b");
    }
    EXPECT_THAT(pipe.rest(),
                MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                             "warning worker a: instance b is down\n"));
}

TEST(Log, KeepsBackWhatIsBelowItsLevel) {
    Pipe pipe;
    {
        LogOptions options = to(pipe);
        options.level = spdlog::level::warn;
        const Log log(options);
        spdlog::info("quiet");
        spdlog::error("loud");
    }
    EXPECT_THAT(pipe.rest(), EndsWith("error worker a: loud\n"));
}

TEST(Log, NeverLetsAMessageForgeALineOrATerminalCommand) {
    Pipe pipe;
    {
        const Log log(to(pipe));
        spdlog::info("{}", "a\nerror gateway: forged\x1b[2J\xFF\xC2\x9B end");
    }
    EXPECT_THAT(pipe.rest(), EndsWith("a\\nerror gateway: forged\\x1b[2J\\xff\\xc2\\x9b end\n"));
}

TEST(Log, CutsALongLineBetweenCharacters) {
    Pipe pipe;
    {
        const Log log(to(pipe));
        std::string message;
        while (message.size() < 2 * Log::line_bytes_max) message += "\u00e4";
        spdlog::info("{}", message);
    }
    const std::string text = pipe.rest();
    EXPECT_LE(text.size(), Log::line_bytes_max);
    EXPECT_GE(text.size(), Log::line_bytes_max - 4);
    EXPECT_THAT(text, EndsWith("\u00e4...\n"));
}

TEST(Log, DropsAndCountsInsteadOfWaitingForABlockedTarget) {
    constexpr std::size_t sent = 20'000;
    Pipe pipe;
    std::string text;
    std::uint64_t dropped = 0;
    {
        LogOptions options = to(pipe);
        options.queue_bytes_max = 64 * 1024;
        options.close_ms_max = forever;  // every line must come
        const Log log(options);
        Registry registry;
        log.add_metrics(registry);
        // Nobody reads the pipe: the loop ends only because logging does not wait.
        for (std::size_t i = 0; i < sent; ++i) spdlog::info("number {} of a busy day", i);
        dropped = log.dropped_lines();
        EXPECT_GT(dropped, 0U);
        EXPECT_THAT(registry.render(),
                    HasSubstr(fmt::format("holdfast_log_dropped_lines_total {}\n", dropped)));
        // Room for the writer again; what does not fit here is read below.
        EXPECT_GT(::fcntl(pipe.writer.get(), F_SETPIPE_SZ, 1 << 20), 0);
    }
    text = pipe.rest();
    EXPECT_EQ(lines_of(text, "of a busy day\n") + dropped, sent);
    std::uint64_t told = 0;
    const std::string words = " log lines dropped\n";
    for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) {
        told += std::stoull(text.substr(text.rfind(' ', at - 1) + 1));
    }
    EXPECT_EQ(told, dropped);
}

TEST(Log, EndsAlthoughTheTargetStaysBlocked) {
    Pipe pipe;
    LogOptions options = to(pipe);
    options.close_ms_max = 1ms;
    {
        const Log log(options);
        for (int i = 0; i < 3000; ++i) spdlog::info("line {}", i);
    }
    pipe.reader.reset();  // frees the writer that was left behind
}

TEST(Log, SurvivesAReaderThatLeft) {
    Pipe pipe;
    pipe.reader.reset();
    Log log(to(pipe));
    spdlog::info("into the void");
    EXPECT_TRUE(log.flush(forever));
    EXPECT_EQ(log.dropped_lines(), 1U);
}

TEST(Log, SurvivesAFullDisk) {
    const base::UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    if (!full) GTEST_SKIP() << "no /dev/full here";
    LogOptions options;
    options.fd = full.get();
    Log log(options);
    spdlog::info("no space");
    EXPECT_TRUE(log.flush(forever));
    EXPECT_EQ(log.dropped_lines(), 1U);
}

TEST(Log, KeepsLinesOfManyThreadsWhole) {
    Pipe pipe;
    {
        const Log log(to(pipe));
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([t] {
                for (int i = 0; i < 100; ++i) spdlog::info("<{}-{}>", t, i);
            });
        }
    }
    const std::string text = pipe.rest();
    EXPECT_EQ(lines_of(text, ">\n"), 400U);
    for (int t = 0; t < 4; ++t) EXPECT_EQ(lines_of(text, fmt::format(": <{}-", t)), 100U);
}

TEST(LogLevel, IsReadFromItsNameAndAWrongOneIsNamed) {
    EXPECT_EQ(parse_log_level("warning").value(), spdlog::level::warn);
    EXPECT_THAT(parse_log_level("loud").error().what, HasSubstr("\"loud\" is none of trace"));
}

TEST(Access, TellsAnExchangeInOneLine) {
    AccessRecord record;
    record.request_id = "r-1";
    record.method = "POST";
    record.path = "/v1/chat/completions";
    record.model = "tiny-r1";
    record.status = 200;
    record.finish = "stop";
    record.instance = "b";
    record.attempts = 2;
    record.guarantee = "exact";
    record.prompt_tokens = 12;
    record.completion_tokens = 345;
    record.first_token_ms = 80ms;
    record.total_ms = 1234ms;
    EXPECT_EQ(render_access(record),
              "access request=r-1 method=POST path=/v1/chat/completions model=tiny-r1 status=200 "
              "finish=stop instance=b attempts=2 guarantee=exact prompt_tokens=12 "
              "completion_tokens=345 first_token_ms=80 total_ms=1234");
}

TEST(Access, LeavesTheQueryOutAndQuotesWhatAClientMadeUp) {
    AccessRecord record;
    record.request_id = "a\" status=500\n";
    record.method = "GET";
    record.path = "/v1/models?api_key=secret";
    record.status = 404;
    const std::string line = render_access(record);
    EXPECT_EQ(line,
              "access request=\"a\\\" status=500\\n\" method=GET path=/v1/models status=404 "
              "total_ms=0");
    EXPECT_THAT(line, Not(HasSubstr("secret")));
}

TEST(Access, GoesToTheLogAsItIs) {
    Pipe pipe;
    {
        const Log log(to(pipe));
        AccessRecord record;
        record.path = "/{}";
        record.status = 200;
        log_access(record);
    }
    EXPECT_THAT(pipe.rest(), EndsWith("info worker a: access path=/{} status=200 total_ms=0\n"));
}

}  // namespace holdfast::telemetry
