#include "tools/hub/listing.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/hub/reference.h"

namespace holdfast::hub {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string sha256(64, 'a');
const std::string sha1(40, 'b');

std::vector<RemoteFile> files_named(const std::vector<std::string>& names) {
    std::vector<RemoteFile> files;
    for (const auto& name : names) files.push_back({.path = name, .size = 1});
    return files;
}

std::vector<std::string> selected(const std::vector<std::string>& names, const std::string& file,
                                  const std::vector<std::string>& globs = {}) {
    std::vector<std::string> out;
    const auto chosen = select_files(files_named(names), file, globs);
    EXPECT_TRUE(chosen) << chosen.error().what;
    for (const auto& one : chosen.value_or(std::vector<RemoteFile>())) out.push_back(one.path);
    return out;
}

std::string refused(const std::vector<std::string>& names, const std::string& file) {
    const auto chosen = select_files(files_named(names), file, {});
    return chosen ? "" : chosen.error().what;
}

TEST(ParseReference, TakesRepositoryRevisionAndFile) {
    const auto whole = parse_reference("org/Name-1.5B@refs/pr/1:sub/x-Q4_K_M.gguf");
    ASSERT_TRUE(whole) << whole.error().what;
    EXPECT_EQ(whole->repo, "org/Name-1.5B");
    EXPECT_EQ(whole->revision, "refs/pr/1");
    EXPECT_EQ(whole->file, "sub/x-Q4_K_M.gguf");
    EXPECT_EQ(whole->text(), "org/Name-1.5B@refs/pr/1:sub/x-Q4_K_M.gguf");
    EXPECT_EQ(parse_reference("a/b")->revision, "");
}

TEST(ParseReference, UnderstandsTheAddressOfAModelsPage) {
    for (const std::string text :
         {"https://huggingface.co/a/b", "hf.co/a/b", " a/b\n", "https://huggingface.co/a/b/",
          "https://www.modelscope.cn/models/a/b"})
        EXPECT_EQ(parse_reference(text)->text(), "a/b") << text;
    EXPECT_EQ(parse_reference("hf.co/a/b:Q4_K_M")->text(), "a/b:Q4_K_M");
    EXPECT_EQ(parse_reference("https://huggingface.co/a/b/tree/v1")->text(), "a/b@v1");
    EXPECT_EQ(parse_reference("https://huggingface.co/a/b/blob/main/q/x.gguf")->text(),
              "a/b@main:q/x.gguf");
}

TEST(ParseReference, RefusesWhatNamesNoModel) {
    for (const std::string text :
         {"", "name", "/name", "org/", "a/b/c", "../b", "a/..", "a/.b", "-a/b", "a b/c", "a/b@",
          "a/b@../x", "a/b:", "a/b:../x", "a/b:/x", "a/b@x y"})
        EXPECT_FALSE(parse_reference(text)) << text;
}

TEST(CheckFileName, LetsNothingOutOfTheFolder) {
    for (const std::string name : {"a", "a/b.c", "..a", "a..", "ä/ö", "a b", ".gitattributes"})
        EXPECT_TRUE(check_file_name(name)) << name;
    for (const std::string name : {"", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/../b", "./a",
                                   "a\\b", "a\nb", "a\x7f", ".holdfast.json", "a/.holdfast.json"})
        EXPECT_FALSE(check_file_name(name)) << name;
    EXPECT_FALSE(check_file_name(std::string("a\0b", 3)));
    EXPECT_FALSE(check_file_name(std::string(256, 'a')));
    EXPECT_FALSE(check_file_name(std::string(1024, 'a') + "/b"));
}

TEST(ParseTreePage, TakesSizesAndChecksumsOfFiles) {
    std::vector<RemoteFile> files;
    const auto json = fmt::format(
        R"([{{"type":"directory","oid":"{1}","size":0,"path":"onnx"}},
            {{"type":"file","oid":"{1}","size":7,"path":"config.json"}},
            {{"type":"file","oid":"{1}","size":9,"path":"m.safetensors",
              "lfs":{{"oid":"{0}","size":9,"pointerSize":134}}}},
            {{"type":"file","size":0,"path":"bare"}}])",
        sha256, sha1);
    ASSERT_TRUE(parse_tree_page(json, files));
    EXPECT_THAT(files, ElementsAre(RemoteFile{"config.json", 7, {Checksum::Kind::git, sha1}},
                                   RemoteFile{"m.safetensors", 9, {Checksum::Kind::sha256, sha256}},
                                   RemoteFile{"bare", 0, {}}));
}

TEST(ParseTreePage, RefusesWhatIsNoListAndWhatNobodyShouldBelieve) {
    std::vector<RemoteFile> files;
    const auto reason = [&](std::string_view json) {
        const auto parsed = parse_tree_page(json, files);
        return parsed ? "" : parsed.error().what;
    };
    EXPECT_THAT(reason("<html>"), HasSubstr("web page"));
    EXPECT_THAT(reason(""), HasSubstr("no list of files"));
    EXPECT_THAT(reason("{}"), HasSubstr("no list of files"));
    EXPECT_THAT(reason(R"([{"type":"file","size":1,"path":"../x"}])"), HasSubstr("whose name"));
    EXPECT_THAT(reason(R"([{"type":"file","size":1}])"), HasSubstr("whose name is empty"));
    EXPECT_THAT(reason(R"([{"type":"file","path":"x"}])"), HasSubstr("no believable size"));
    EXPECT_THAT(reason(R"([{"type":"file","path":"x","size":-1}])"), HasSubstr("size"));
    EXPECT_THAT(reason(R"([{"type":"file","path":"x","size":1e30}])"), HasSubstr("size"));
    EXPECT_TRUE(files.empty());
}

TEST(ParseModelscopeFiles, TakesFilesOrTheHubsOwnWords) {
    std::vector<RemoteFile> files;
    const auto json = fmt::format(
        R"({{"Code":200,"Data":{{"Files":[{{"Path":"a","Type":"tree","Size":0}},
            {{"Path":"config.json","Type":"blob","Size":3,"Sha256":"{}"}}]}}}})",
        sha256);
    ASSERT_TRUE(parse_modelscope_files(json, files));
    EXPECT_THAT(files, ElementsAre(RemoteFile{"config.json", 3, {Checksum::Kind::sha256, sha256}}));
    const auto refused = parse_modelscope_files(R"({"Code":404,"Message":"no model"})", files);
    EXPECT_THAT(refused.error().what, HasSubstr("says: no model"));
}

TEST(ParseCommit, TakesHexadecimalDigitsOnly) {
    EXPECT_EQ(*parse_commit(R"({"sha":")" + sha1 + R"("})"), sha1);
    EXPECT_FALSE(parse_commit(R"({"sha":"main"})"));
    EXPECT_FALSE(parse_commit(R"({"sha":"../../../../../../../../../../../../../x"})"));
}

TEST(NextPage, KeepsPathAndQueryOfTheNextLink) {
    EXPECT_EQ(next_page(R"(<https://hub.example/api/x?a=1&cursor=2>; rel="next")"),
              "/api/x?a=1&cursor=2");
    EXPECT_EQ(next_page(R"(<https://h/prev>; rel="prev", </next>; rel="next")"), "/next");
    for (const std::string link :
         {"", "<", "><", R"(<https://h/x>; rel="prev")", R"(<https://h>; rel="next")"})
        EXPECT_EQ(next_page(link), "") << link;
}

TEST(SelectFiles, TakesWhatServingNeeds) {
    EXPECT_THAT(selected({"config.json", "generation_config.json", "tokenizer.json",
                          "tokenizer_config.json", "chat_template.jinja", "a-1.safetensors",
                          "model.safetensors.index.json", "README.md", "pytorch_model.bin",
                          "onnx/model.safetensors", "consolidated.safetensors", "logo.png"},
                         ""),
                ElementsAre("a-1.safetensors", "chat_template.jinja", "config.json",
                            "generation_config.json", "model.safetensors.index.json",
                            "tokenizer.json", "tokenizer_config.json"));
    EXPECT_THAT(selected({"a.txt", "b/c.txt", "d"}, "", {"*.txt"}),
                ElementsAre("a.txt", "b/c.txt"));
}

TEST(SelectFiles, FindsAGgufFileByAPartOfItsNameAndAllItsParts) {
    const std::vector<std::string> names{"X-Q4_K_M.gguf", "q8/X-Q8_0-00001-of-00002.gguf",
                                         "q8/X-Q8_0-00002-of-00002.gguf", "X-Q4_K_S.gguf"};
    EXPECT_THAT(selected(names, "X-Q4_K_S.gguf"), ElementsAre("X-Q4_K_S.gguf"));
    EXPECT_THAT(selected(names, "q4_k_m"), ElementsAre("X-Q4_K_M.gguf"));
    EXPECT_THAT(selected(names, "q8/X-Q8_0-00002-of-00002.gguf"), ElementsAre(names[1], names[2]));
    const std::vector<std::string> near{"X-Q6_K.gguf", "X-Q6_K_L.gguf", "X-Q6_K_L_XL.gguf"};
    EXPECT_THAT(selected(near, "Q6_K"), ElementsAre("X-Q6_K.gguf"));
    EXPECT_THAT(selected(near, "q6_k_l"), ElementsAre("X-Q6_K_L.gguf"));
    EXPECT_THAT(selected(near, "xl"), ElementsAre("X-Q6_K_L_XL.gguf"));
    EXPECT_THAT(refused(near, "x"), HasSubstr("could be X-Q6_K.gguf or X-Q6_K_L.gguf or"));
    EXPECT_THAT(refused(names, "Q4"), HasSubstr("could be X-Q4_K_M.gguf or X-Q4_K_S.gguf"));
    EXPECT_THAT(refused(names, "F16"), HasSubstr("name one of X-Q4_K_M.gguf, X-Q4_K_S.gguf, q8/"));
    EXPECT_THAT(refused({"X-00001-of-00003.gguf", "X-00003-of-00003.gguf"}, "X"),
                HasSubstr("has 3 parts, and only 2"));
}

TEST(SelectFiles, SaysWhyThereIsNothingToServe) {
    EXPECT_THAT(refused({"a.gguf", "README.md"}, ""), HasSubstr("behind a colon: a.gguf"));
    EXPECT_THAT(refused({"config.json", "pytorch_model.bin"}, ""), HasSubstr(".bin or .pth"));
    EXPECT_THAT(refused({"model.safetensors"}, ""), HasSubstr("has no config.json"));
    EXPECT_THAT(refused({}, ""), HasSubstr("no *.safetensors"));
    EXPECT_THAT(refused({"config.json"}, "confg.json"), HasSubstr("did you mean \"config.json\"?"));
    EXPECT_THAT(refused({"config.json", "m.safetensors", "config.json"}, ""), HasSubstr("twice"));
}

}  // namespace
}  // namespace holdfast::hub
