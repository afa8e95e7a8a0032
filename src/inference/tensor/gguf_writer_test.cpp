#include "inference/tensor/gguf_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>

#include "common/base/test_folder.h"

namespace holdfast::tensor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::byte> filled(std::size_t count, int with) {
    return std::vector<std::byte>(count, static_cast<std::byte>(with));
}

class Writer : public ::testing::Test {
protected:
    Writer() {
        metadata_.text("general.architecture", "qwen2");
        metadata_.integer("count", 7);
        metadata_.number("share", 0.25F);
        metadata_.flag("yes", true);
        metadata_.texts("words", std::vector<std::string>{"a", "", "ü"});
        metadata_.integers("ids", std::vector<std::int32_t>{-1, 5});
    }

    base::Result<GgufWriter> create(bool replace = false) {
        return GgufWriter::create(path_, replace, metadata_,
                                  {{"first", {3, 5}, DataType::f16},
                                   {"second", {2, 256}, DataType::q4_k},
                                   {"third", {7}, DataType::f32}});
    }
    base::Result<> write_all(GgufWriter& writer) {
        HF_TRY(writer.append(filled(30, 1)));
        HF_TRY(writer.append(filled(100, 2)));
        // One piece may span tensors.
        auto rest = filled(188, 2);
        rest.insert(rest.end(), 28, std::byte{3});
        HF_TRY(writer.append(rest));
        HF_TRY(writer.sync());
        return writer.finish();
    }
    std::size_t files() const {
        const std::filesystem::directory_iterator all(folder_.path());
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

    base::testing::TemporaryFolder folder_;
    std::string path_ = folder_.path() + "/x.gguf";
    GgufMetadata metadata_;
};

TEST_F(Writer, WritesWhatTheReaderReads) {
    auto writer = create();
    ASSERT_TRUE(writer) << writer.error().what;
    const auto written = write_all(*writer);
    ASSERT_TRUE(written) << written.error().what;
    EXPECT_EQ(std::filesystem::file_size(path_), writer->file_bytes());
    const auto file = Gguf::open(path_);
    ASSERT_TRUE(file) << file.error().what;
    EXPECT_EQ(file->text("general.architecture").value(), "qwen2");
    EXPECT_EQ(file->integer("count").value(), 7U);
    EXPECT_EQ(file->number("share").value(), 0.25);
    EXPECT_EQ(file->flag("yes").value(), true);
    EXPECT_THAT(*file->texts("words").value(), ElementsAre("a", "", "ü"));
    EXPECT_THAT(*file->integers("ids").value(), ElementsAre(-1, 5));
    ASSERT_EQ(file->tensors().size(), 3U);
    EXPECT_EQ(file->tensors()[1].shape, (std::vector<std::uint64_t>{2, 256}));
    const std::size_t sizes[] = {30, 288, 28};
    for (std::size_t i = 0; i < 3; ++i) {
        const Tensor& tensor = file->tensors()[i];
        EXPECT_EQ(tensor.bytes.size(), sizes[i]);
        for (const std::byte byte : tensor.bytes) EXPECT_EQ(byte, static_cast<std::byte>(i + 1));
    }
}

TEST_F(Writer, CopiesMetadataUnchanged) {
    auto first = create();
    ASSERT_TRUE(first && write_all(*first));
    const auto file = Gguf::open(path_);
    GgufMetadata copy;
    for (const GgufEntry& entry : file->entries()) copy.copy(entry);
    const std::string second = folder_.path() + "/y.gguf";
    auto writer = GgufWriter::create(second, false, copy, {});
    ASSERT_TRUE(writer && writer->sync() && writer->finish());
    const auto copied = Gguf::open(second);
    ASSERT_TRUE(copied) << copied.error().what;
    ASSERT_EQ(copied->entries().size(), file->entries().size());
    for (std::size_t i = 0; i < file->entries().size(); ++i) {
        EXPECT_EQ(copied->entries()[i].key, file->entries()[i].key);
        EXPECT_TRUE(std::ranges::equal(copied->entries()[i].value, file->entries()[i].value));
    }
}

TEST_F(Writer, LeavesNothingBehindWhenItIsGivenUp) {
    {
        auto writer = create();
        ASSERT_TRUE(writer);
        ASSERT_TRUE(writer->append(filled(30, 1)));
        EXPECT_FALSE(std::filesystem::exists(path_));
        EXPECT_EQ(files(), 1U);
    }
    EXPECT_EQ(files(), 0U);
}

TEST_F(Writer, ReplacesAFileOnlyWhenTold) {
    folder_.write("x.gguf", "precious");
    EXPECT_THAT(create().error().what, AllOf(HasSubstr(path_), HasSubstr("exists already")));
    auto writer = create(true);
    ASSERT_TRUE(writer);
    EXPECT_EQ(std::filesystem::file_size(path_), 8U);
    ASSERT_TRUE(write_all(*writer));
    EXPECT_TRUE(Gguf::open(path_));
    EXPECT_EQ(files(), 1U);
}

TEST_F(Writer, DoesNotReplaceAFileThatAppearedMeanwhile) {
    auto writer = create();
    ASSERT_TRUE(writer);
    folder_.write("x.gguf", "precious");
    const auto written = write_all(*writer);
    ASSERT_FALSE(written);
    EXPECT_THAT(written.error().what, HasSubstr("File exists"));
    EXPECT_EQ(std::filesystem::file_size(path_), 8U);
}

// A limit on the size of files stands for a disk that is full.
class FullDisk {
public:
    explicit FullDisk(std::size_t bytes) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{.rlim_cur = bytes, .rlim_max = before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FullDisk() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        ::signal(SIGXFSZ, handler_before_);
    }
    FullDisk(const FullDisk&) = delete;
    FullDisk& operator=(const FullDisk&) = delete;

private:
    sighandler_t handler_before_ = ::signal(SIGXFSZ, SIG_IGN);
    rlimit before_{};
};

TEST_F(Writer, SaysThatThereIsNoFolderOrNoRoom) {
    path_ = folder_.path() + "/none/x.gguf";
    EXPECT_THAT(create().error().what, AllOf(HasSubstr(path_), HasSubstr("No such file")));
    path_ = folder_.path() + "/x.gguf";
    const FullDisk full(300);
    const auto refused = create();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, base::Code::unavailable);
    EXPECT_THAT(refused.error().what, AllOf(HasSubstr(path_), HasSubstr("File too large")));
    EXPECT_EQ(files(), 0U);
}

TEST_F(Writer, SaysWhenTheDiskFillsUpWhileWriting) {
    {
        auto writer = create();
        ASSERT_TRUE(writer);
        const FullDisk full(500);
        const auto written = write_all(*writer);
        ASSERT_FALSE(written);
        EXPECT_THAT(written.error().what, AllOf(HasSubstr(path_), HasSubstr("cannot write")));
    }
    EXPECT_EQ(files(), 0U);
}

}  // namespace
}  // namespace holdfast::tensor
