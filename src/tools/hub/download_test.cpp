#include "tools/hub/download.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "common/base/test_folder.h"
#include "tools/hub/part.h"
#include "tools/hub/scripted_server_test.h"

namespace holdfast::hub {
namespace {

using base::testing::TemporaryFolder;
using ::testing::HasSubstr;
using testing::reply;
using testing::ScriptedServer;

std::string some_bytes(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 251);
    return text;
}

// The range that a request asks for, as [begin, end).
std::pair<std::size_t, std::size_t> range_in(const std::string& request, std::size_t size) {
    const auto at = request.find("Range: bytes=");
    if (at == std::string::npos) return {0, size};
    std::size_t begin = 0, last = 0;
    const char* const text = request.data() + at + 13;
    const auto dash = std::from_chars(text, request.data() + request.size(), begin).ptr;
    std::from_chars(dash + 1, request.data() + request.size(), last);
    return {begin, last + 1};
}

std::string ranged(const std::string& request, const std::string& content) {
    const auto [begin, end] = range_in(request, content.size());
    if (request.find("Range:") == std::string::npos) return reply("200 OK", content);
    return reply("206 Partial Content", std::string_view(content).substr(begin, end - begin),
                 fmt::format("Content-Range: bytes {}-{}/{}\r\n", begin, end - 1, content.size()));
}

// A hub with one file, and a folder to put it in.
class OneFile {
public:
    explicit OneFile(ScriptedServer::Answer answer,
                     std::string content = some_bytes(6 * block_bytes + 5))
        : content(std::move(content)), server_(std::move(answer)) {
        hub.endpoint = server_.url();
        hub.retry = {.attempts_max = 3,
                     .pause_first = std::chrono::milliseconds(1),
                     .pause_max = std::chrono::milliseconds(2),
                     .retry_after_max = std::chrono::milliseconds(2)};
        std::filesystem::create_directory(folder_.path() + "/parts");
    }

    base::Result<> run(int stop_fd = -1) {
        const RemoteFile file{"model.bin", content.size(),
                              make_checksum(Checksum::Kind::sha256, sha256_hex(content))};
        const Reference reference{.repo = "o/n", .revision = {}, .file = {}};
        const DownloadPlan plan{.files = {{file, hub.file_url(reference, "c", file.path)}},
                                .folder = folder_.path() + "/done",
                                .parts = folder_.path() + "/parts",
                                .jobs = 2};
        const Watcher watcher{[this](const Progress& progress) { last = progress; },
                              [this](const std::string& line) { said += line + "\n"; }};
        return download(hub, reference, plan, Stop(stop_fd), watcher, clock_);
    }
    std::string result() const {
        std::ifstream file(folder_.path() + "/done/model.bin", std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::vector<std::string> requests() const { return server_.requests(); }
    bool has_parts() const { return !std::filesystem::is_empty(folder_.path() + "/parts"); }

    Hub hub;
    std::string content, said;
    Progress last;

private:
    base::SystemClock clock_;
    TemporaryFolder folder_;
    ScriptedServer server_;
};

const std::string content = some_bytes(6 * block_bytes + 5);

TEST(Download, AsksForRangesAndChecksTheWhole) {
    OneFile file([](const auto& request) { return ranged(request, content); });
    const auto done = file.run();
    ASSERT_TRUE(done) << done.error().what;
    EXPECT_EQ(file.result(), content);
    EXPECT_EQ(file.requests().size(), 2U);
    EXPECT_THAT(file.requests()[0], HasSubstr("GET /o/n/resolve/c/model.bin HTTP/1.1"));
    EXPECT_EQ(file.last.bytes_done, content.size());
    EXPECT_EQ(file.last.files_done, 1U);
    EXPECT_FALSE(file.has_parts());
}

TEST(Download, GoesOnAtTheByteWhereAConnectionBroke) {
    std::atomic<int> count = 0;
    OneFile file([&count](const std::string& request) {
        auto answer = ranged(request, content);
        if (count++ == 0) answer.resize(answer.find("\r\n\r\n") + 4 + block_bytes + 1000);
        return answer;
    });
    ASSERT_TRUE(file.run());
    EXPECT_EQ(file.result(), content);
    EXPECT_THAT(file.said, HasSubstr("broke"));
    EXPECT_THAT(
        file.requests(),
        ::testing::Contains(HasSubstr(fmt::format("Range: bytes={}-", block_bytes + 1000))));
}

TEST(Download, GivesUpOnAHubThatStaysSickAndKeepsWhatHasCome) {
    std::atomic<int> count = 0;
    std::atomic<bool> sick = true;
    OneFile file([&](const std::string& request) {
        return sick && count++ > 0 ? reply("503 Service Unavailable", "no")
                                   : ranged(request, content);
    });
    const auto refused = file.run();
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().what, HasSubstr("HTTP 503"));
    EXPECT_TRUE(file.has_parts());
    const auto before = file.last.bytes_done;
    EXPECT_GE(before, 4 * block_bytes);
    sick = false;
    ASSERT_TRUE(file.run());
    EXPECT_EQ(file.last.bytes_before, before);
    EXPECT_EQ(file.result(), content);
}

TEST(Download, TakesTheWholeFromAServerWithoutRanges) {
    OneFile file([](const auto&) { return reply("200 OK", content); });
    ASSERT_TRUE(file.run());
    EXPECT_EQ(file.result(), content);
    EXPECT_THAT(file.said, HasSubstr("ignores ranges"));
}

TEST(Download, RefusesWhatIsNotTheFile) {
    const auto reason = [](const std::string& answer) {
        OneFile file([&answer](const auto&) { return answer; });
        const auto done = file.run();
        EXPECT_EQ(file.result(), "");
        return done ? "" : done.error().what;
    };
    EXPECT_THAT(reason(reply("200 OK", "<html>", "Content-Type: text/html; charset=utf-8\r\n")),
                HasSubstr("web page"));
    EXPECT_THAT(reason(reply("206 Partial Content", "x", "Content-Range: bytes 0-0/1\r\n")),
                HasSubstr("offers 1 bytes"));
    EXPECT_THAT(reason(reply("206 Partial Content", "x",
                             fmt::format("Content-Range: bytes 9-9/{}\r\n", content.size()))),
                HasSubstr("another part"));
    EXPECT_THAT(reason(reply("206 Partial Content", "x")), HasSubstr("another part"));
    EXPECT_THAT(reason(reply("404 Not Found", "", "X-Error-Code: EntryNotFound\r\n")),
                HasSubstr("has no file model.bin"));
}

TEST(Download, ThrowsAwayAFileWithAWrongChecksum) {
    auto wrong = content;
    wrong[block_bytes + 7] ^= 1;
    OneFile file([&wrong](const auto& request) { return ranged(request, wrong); });
    const auto done = file.run();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, base::Code::corrupt);
    EXPECT_THAT(done.error().what, HasSubstr("wrong sha256 checksum"));
    EXPECT_FALSE(file.has_parts());
    EXPECT_EQ(file.result(), "");
}

TEST(Download, EndsWhenToldTo) {
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe(pipe.data()), 0);
    const base::UniqueFd in(pipe[0]);
    ASSERT_EQ(::write(pipe[1], "x", 1), 1);
    const base::UniqueFd out(pipe[1]);
    OneFile file([](const auto& request) { return ranged(request, content); });
    const auto done = file.run(in.get());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, base::Code::cancelled);
}

TEST(Download, SendsTheTokenToNobodyElse) {
    ScriptedServer other([](const auto& request) { return ranged(request, content); });
    OneFile file([&other](const auto&) {
        return reply("302 Found", "", fmt::format("Location: {}/signed\r\n", other.url()));
    });
    file.hub.token = "secret";
    ASSERT_TRUE(file.run());
    for (const auto& request : file.requests())
        EXPECT_THAT(request, HasSubstr("Authorization: Bearer secret"));
    for (const auto& request : other.requests())
        EXPECT_THAT(request, ::testing::Not(HasSubstr("secret")));
}

TEST(Download, MakesAnEmptyFile) {
    OneFile file([](const auto&) { return reply("200 OK", ""); }, "");
    ASSERT_TRUE(file.run());
    EXPECT_TRUE(file.requests().empty());
}

}  // namespace
}  // namespace holdfast::hub
