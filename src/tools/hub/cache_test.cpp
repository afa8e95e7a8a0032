#include "tools/hub/cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/test_folder.h"
#include "tools/hub/report.h"

namespace holdfast::hub {
namespace {

using ::testing::HasSubstr;

class CacheTest : public ::testing::Test {
protected:
    // A pulled model with one file.
    std::string add(const std::string& id, const Manifest& about) {
        const auto folder = cache.folder_of(about.repo) + "/" + id;
        std::filesystem::create_directories(folder);
        Manifest manifest = about;
        manifest.files = {{"x.gguf", 4, make_checksum(Checksum::Kind::git, std::string(40, 'a'))}};
        EXPECT_TRUE(write_manifest(folder, manifest));
        root.write("models/" + about.repo + "/" + id + "/x.gguf", "data");
        return folder;
    }
    std::string newest(const std::string& text) const {
        const auto found = cache.newest(*parse_reference(text));
        return found ? found->path : "";
    }

    base::testing::TemporaryFolder root;
    Cache cache{root.path()};
};

TEST_F(CacheTest, FindsTheNewestThatFits) {
    const std::string commit(40, 'c');
    const auto old = add("1", {.repo = "o/n", .revision = "v1", .commit = commit, .pulled_at = 1});
    const auto young = add("2", {.repo = "o/n", .revision = "main", .pulled_at = 2});
    EXPECT_EQ(newest("o/n"), young);
    EXPECT_EQ(newest("o/n@v1"), old);
    EXPECT_EQ(newest("o/n@ccccccc"), old);
    EXPECT_EQ(newest("o/n@ccc"), "") << "too short to be meant";
    EXPECT_EQ(newest("o/n:x.gguf"), young + "/x.gguf");
    EXPECT_EQ(newest("o/n:y.gguf"), "");
    EXPECT_EQ(newest("o/other"), "");
    const auto asked = add("3", {.repo = "o/n", .file = "Q4", .pulled_at = 3});
    EXPECT_EQ(newest("o/n:Q4"), asked + "/x.gguf");
    EXPECT_EQ(newest("O/N:q4"), asked + "/x.gguf") << "whatever the letter case";
    EXPECT_EQ(newest("o/N:X.GGUF"), asked + "/x.gguf");
    std::filesystem::remove(asked + "/x.gguf");
    EXPECT_EQ(newest("o/n"), young) << "damaged ones are passed over";
    const auto environment = [&](const std::string& name) {
        return name == "HOLDFAST_CACHE" ? root.path() : std::string();
    };
    EXPECT_EQ(find_pulled(environment, "o/n@v1"), old);
    EXPECT_EQ(find_pulled(environment, "not/there"), std::nullopt);
}

TEST_F(CacheTest, RemovesWhatFitsAndNothingThatIsBeingPulled) {
    const auto old = add("1", {.repo = "o/n", .revision = "v1"});
    const auto young = add("2", {.repo = "o/n", .revision = "main"});
    {
        const auto lock = FileLock::try_take(cache.lock_of("o/n"));
        ASSERT_TRUE(lock && *lock);
        EXPECT_FALSE(*FileLock::try_take(cache.lock_of("o/n")));
        EXPECT_EQ(cache.remove(*parse_reference("o/n")).error().code, base::Code::unavailable);
    }
    EXPECT_TRUE(cache.remove(*parse_reference("O/n@v1")));
    EXPECT_FALSE(std::filesystem::exists(old));
    EXPECT_TRUE(std::filesystem::exists(young));
    EXPECT_GT(*cache.remove(*parse_reference("o/n")), 0U);
    EXPECT_EQ(cache.remove(*parse_reference("o/n")).error().code, base::Code::not_found);
    EXPECT_TRUE(std::filesystem::is_empty(root.path() + "/models"));
}

TEST_F(CacheTest, CountsAsFreedWhatNoOtherPullHas) {
    const auto first = add("1", {.repo = "o/n", .revision = "v1"});
    const auto second = add("2", {.repo = "o/n", .revision = "v2"});
    std::filesystem::remove(second + "/x.gguf");
    std::filesystem::create_hard_link(first + "/x.gguf", second + "/x.gguf");
    const auto whole = cache.list()[0].bytes;
    const auto freed = cache.remove(*parse_reference("o/n@v1"));
    ASSERT_TRUE(freed);
    EXPECT_LT(*freed, whole);
}

TEST_F(CacheTest, PassesOverWhatIsNoManifest) {
    const auto folder = add("1", {.repo = "o/n"});
    for (const std::string text : {"", "[]", "{", R"({"files":[{"path":"../x","size":1}]})",
                                   R"({"files":[{"path":"x"}]})"}) {
        root.write("models/o/n/1/.holdfast.json", text);
        EXPECT_EQ(read_manifest(folder).error().code, base::Code::corrupt) << text;
        EXPECT_EQ(newest("o/n"), "");
    }
    EXPECT_EQ(read_manifest(root.path()).error().code, base::Code::not_found);
}

TEST_F(CacheTest, IsReportedForPeopleAndPrograms) {
    EXPECT_THAT(models_table({}), HasSubstr("holdfast pull"));
    add("1", {.repo = "o/n",
              .revision = "main",
              .commit = std::string(40, 'c'),
              .file = "a\"b",
              .pulled_at = 5});
    EXPECT_THAT(models_table(cache.list()), HasSubstr("main (cccccccc)"));
    EXPECT_THAT(models_json(cache.list()), HasSubstr(R"("file":"a\"b")"));
    EXPECT_THAT(models_json(cache.list()), HasSubstr(R"("state":"complete")"));
}

TEST(CacheFind, FollowsTheVariables) {
    const auto at = [](std::map<std::string, std::string> variables) {
        const auto cache = Cache::find([&](const std::string& name) { return variables[name]; });
        return cache ? cache->folder_of("o/n") : cache.error().what;
    };
    EXPECT_EQ(at({{"HOLDFAST_CACHE", "/c"}, {"HOME", "/h"}}), "/c/models/o/n");
    EXPECT_EQ(at({{"XDG_CACHE_HOME", "/x"}, {"HOME", "/h"}}), "/x/holdfast/models/o/n");
    EXPECT_EQ(at({{"XDG_CACHE_HOME", "relative"}, {"HOME", "/h"}}),
              "/h/.cache/holdfast/models/o/n");
    EXPECT_THAT(at({{"HOLDFAST_CACHE", "relative"}}), HasSubstr("absolute"));
    EXPECT_THAT(at({}), HasSubstr("set HOLDFAST_CACHE"));
}

}  // namespace
}  // namespace holdfast::hub
