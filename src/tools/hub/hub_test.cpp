#include "tools/hub/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/base/test_folder.h"
#include "tools/hub/scripted_server_test.h"

namespace holdfast::hub {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::reply;
using testing::ScriptedServer;

Environment environment_of(std::map<std::string, std::string> variables) {
    return [variables = std::move(variables)](const std::string& name) {
        const auto found = variables.find(name);
        return found == variables.end() ? std::string() : found->second;
    };
}

TEST(FindHub, TakesTheEndpointAndTellsItsKind) {
    const auto plain = find_hub(environment_of({}), "", "");
    EXPECT_EQ(plain->endpoint, "https://huggingface.co");
    EXPECT_EQ(plain->kind, Hub::Kind::hugging_face);
    const Reference reference{.repo = "o/n", .revision = {}, .file = {}};
    EXPECT_EQ(plain->file_url(reference, "v1/x", "a b/c.bin"),
              "https://huggingface.co/o/n/resolve/v1%2Fx/a%20b/c.bin");
    const auto scope =
        find_hub(environment_of({{"HF_ENDPOINT", "https://modelscope.cn/"}}), "", "");
    EXPECT_EQ(scope->kind, Hub::Kind::modelscope);
    EXPECT_EQ(scope->file_url(reference, "master", "c"),
              "https://modelscope.cn/models/o/n/resolve/master/c");
    EXPECT_EQ(find_hub(environment_of({}), "modelscope", "")->endpoint, "https://modelscope.cn");
    for (const std::string endpoint : {"ftp://x", "x", "https://", "https://x?y", "https://u@x"})
        EXPECT_FALSE(find_hub(environment_of({{"HF_ENDPOINT", endpoint}}), "", "")) << endpoint;
}

TEST(FindHub, FindsTheTokenOfThatHub) {
    const base::testing::TemporaryFolder home;
    std::filesystem::create_directories(home.path() + "/.cache/huggingface");
    home.write(".cache/huggingface/token", " from_home\n");
    home.write("elsewhere", "from_path");
    std::map<std::string, std::string> variables{{"HOME", home.path()}};
    const auto token = [&](const std::string& given = "", const std::string& kind = "") {
        return find_hub(environment_of(variables), kind, given)->token;
    };
    EXPECT_EQ(token(), "from_home");
    EXPECT_EQ(token("", "modelscope"), "") << "a token is for the hub that gave it";
    variables["HF_TOKEN_PATH"] = home.path() + "/elsewhere";
    EXPECT_EQ(token(), "from_path");
    variables["HF_TOKEN"] = "from_variable";
    EXPECT_EQ(token(), "from_variable");
    EXPECT_EQ(token("given"), "given");
    EXPECT_FALSE(find_hub(environment_of({}), "", "two\r\nlines"));
    EXPECT_FALSE(find_hub(environment_of({{"HF_HUB_DOWNLOAD_TIMEOUT", "soon"}}), "", ""));
}

// What list_files makes of a hub that gives one answer to everything.
base::Result<Listing> listing_of(const std::string& answer, const std::string& token = "") {
    ScriptedServer server([&answer](const auto&) { return answer; });
    Hub hub{.endpoint = server.url(), .token = token};
    hub.retry = {.attempts_max = 2,
                 .pause_first = std::chrono::milliseconds(1),
                 .pause_max = std::chrono::milliseconds(1)};
    const Reference reference{.repo = "o/n", .revision = "r", .file = {}};
    return list_files(hub, reference, Stop(), [](const std::string&) {});
}

TEST(ListFiles, SaysWhoIsToDoWhat) {
    const auto said = [](std::string_view status, std::string_view fields = "",
                         const std::string& token = "") {
        return listing_of(reply(status, "{}", fields), token).error().what;
    };
    EXPECT_THAT(said("401 Unauthorized"), HasSubstr("has no o/n, or it is private"));
    EXPECT_THAT(said("401 Unauthorized", "", "t0ken"), HasSubstr("does not accept the token"));
    EXPECT_THAT(said("401 Unauthorized", "X-Error-Code: GatedRepo\r\n"),
                HasSubstr("/o/n, logged in"));
    EXPECT_THAT(said("403 Forbidden", "", "t0ken"), HasSubstr("accept the terms"));
    EXPECT_THAT(said("403 Forbidden", "", "t0ken"), Not(HasSubstr("t0ken")));
    EXPECT_THAT(said("404 Not Found", "X-Error-Code: RevisionNotFound\r\n"),
                HasSubstr("has no revision \"r\""));
    EXPECT_THAT(said("404 Not Found"), HasSubstr("has no o/n at revision r"));
    EXPECT_THAT(said("429 Too Many Requests", "Retry-After: 0\r\n"), HasSubstr("too often"));
    EXPECT_THAT(said("500 Oops", "X-Error-Message: the cause\r\n"), HasSubstr("the cause"));
    EXPECT_THAT(said("200 OK"), HasSubstr("which commit"));
}

TEST(RetryOptions, WaitsLongerAndLongerAndAsLongAsItIsTold) {
    const RetryOptions retry;
    for (int failures = 1; failures < 40; ++failures) {
        const auto pause = retry.pause(failures, Head{});
        const auto whole = std::min<std::int64_t>(500LL << std::min(failures - 1, 10), 30'000);
        EXPECT_LE(pause.count(), whole);
        EXPECT_GE(pause.count(), whole * 3 / 4);
    }
    Head told;
    told.retry_after = std::chrono::seconds(7);
    EXPECT_EQ(retry.pause(1, told), std::chrono::seconds(7));
    told.retry_after = std::chrono::seconds(1'000'000);
    EXPECT_EQ(retry.pause(1, told), std::chrono::seconds(300));
}

}  // namespace
}  // namespace holdfast::hub
