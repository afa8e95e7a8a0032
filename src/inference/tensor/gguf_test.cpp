#include "inference/tensor/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/tensor/test_gguf.h"

namespace holdfast::tensor {
namespace {

using gguf::ValueType;
using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::GgufBytes;
using ::testing::HasSubstr;
using testing::raw;

constexpr std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();

// Parses from memory that ends exactly with the file, so that a sanitizer sees a read beyond it.
base::Result<Gguf> parse(const std::string& file) {
    static std::vector<std::byte> bytes;
    bytes.assign(reinterpret_cast<const std::byte*>(file.data()),
                 reinterpret_cast<const std::byte*>(file.data()) + file.size());
    bytes.shrink_to_fit();
    return Gguf::parse(bytes, "weights");
}

void expect_refused(const std::string& file, const std::string& reason) {
    const auto result = parse(file);
    ASSERT_FALSE(result) << reason;
    EXPECT_EQ(result.error().code, base::Code::invalid);
    EXPECT_THAT(result.error().what, AllOf(HasSubstr("weights: "), HasSubstr(reason)));
}

// One value of every type, an array of each kind, and tensors of several types.
GgufBytes good() {
    GgufBytes file;
    file.text("general.architecture", "qwen2")
        .value("u8", ValueType::uint8, raw(std::uint8_t{200}))
        .value("i8", ValueType::int8, raw(std::int8_t{-3}))
        .value("u16", ValueType::uint16, raw(std::uint16_t{60'000}))
        .value("i16", ValueType::int16, raw(std::int16_t{300}))
        .value("i32", ValueType::int32, raw(std::int32_t{70'000}))
        .value("u64", ValueType::uint64, raw(huge))
        .value("i64", ValueType::int64, raw(std::int64_t{1} << 40))
        .value("f64", ValueType::float64, raw(0.1))
        .value("yes", ValueType::boolean, raw(std::uint8_t{1}))
        .integer("u32", 7)
        .number("f32", 0.5F)
        .texts("words", {"a", "", "ccc"})
        .texts("nothing", {})
        .array("ids", ValueType::int32, 2, raw(std::int32_t{-1}) + raw(std::int32_t{5}))
        .array("shares", ValueType::float32, 2, raw(1.5F) + raw(-2.0F))
        .array("flags", ValueType::boolean, 2, std::string("\0\1", 2))
        .tensor("b", {2, 3}, 0, std::string(24, 'b'))
        .tensor("a", {32}, 8, std::string(34, 'a'))
        .tensor("odd", {4}, 27, std::string(32, 'o'))
        .tensor("new", {4}, 1'000, "");
    return file;
}

TEST(Gguf, GivesMetadataOfEveryType) {
    const auto file = parse(good().bytes());
    ASSERT_TRUE(file) << file.error().what;
    EXPECT_EQ(file->text("general.architecture").value(), "qwen2");
    EXPECT_EQ(file->integer("u8").value(), 200U);
    EXPECT_EQ(file->integer("u16").value(), 60'000U);
    EXPECT_EQ(file->integer("i16").value(), 300U);
    EXPECT_EQ(file->integer("u32").value(), 7U);
    EXPECT_EQ(file->integer("i32").value(), 70'000U);
    EXPECT_EQ(file->integer("u64").value(), huge);
    EXPECT_EQ(file->integer("i64").value(), std::uint64_t{1} << 40);
    EXPECT_EQ(file->number("f32").value(), 0.5);
    EXPECT_EQ(file->number("f64").value(), 0.1);
    EXPECT_EQ(file->number("i8").value(), -3.0);
    EXPECT_EQ(file->flag("yes").value(), true);
    EXPECT_THAT(*file->texts("words").value(), ElementsAre("a", "", "ccc"));
    EXPECT_TRUE(file->texts("nothing").value()->empty());
    EXPECT_THAT(*file->integers("ids").value(), ElementsAre(-1, 5));
    EXPECT_THAT(*file->numbers("shares").value(), ElementsAre(1.5, -2.0));
    EXPECT_EQ(file->entries().size(), 17U);
}

TEST(Gguf, SaysThatAKeyIsAbsentOrOfAnotherType) {
    const auto file = parse(good().bytes());
    ASSERT_TRUE(file);
    EXPECT_EQ(file->integer("none").value(), std::nullopt);
    EXPECT_EQ(file->texts("none").value(), std::nullopt);
    EXPECT_EQ(file->numbers("none").value(), std::nullopt);
    const auto what = [](const auto& result) {
        return result ? std::string("a value") : result.error().what;
    };
    EXPECT_EQ(what(file->integer("i8")), "weights: key \"i8\" is int8, not a non-negative integer");
    EXPECT_THAT(what(file->integer("f32")), HasSubstr("is float32"));
    EXPECT_THAT(what(file->integer("ids")), HasSubstr("is an array of int32"));
    EXPECT_THAT(what(file->number("yes")), HasSubstr("is bool, not a number"));
    EXPECT_THAT(what(file->flag("u8")), HasSubstr("not a bool"));
    EXPECT_THAT(what(file->text("words")), HasSubstr("an array of text, not a text"));
    EXPECT_THAT(what(file->texts("ids")), HasSubstr("not an array of texts"));
    EXPECT_THAT(what(file->texts("u8")), HasSubstr("not an array of texts"));
    EXPECT_THAT(what(file->integers("words")), HasSubstr("not an array of integers"));
    EXPECT_THAT(what(file->integers("flags")), HasSubstr("not an array of integers"));
    EXPECT_THAT(what(file->integers("u8")), HasSubstr("not an array of integers"));
    EXPECT_THAT(what(file->numbers("words")), HasSubstr("not an array of numbers"));
}

TEST(Gguf, GivesTensorsByNameWithShapesOutermostFirst) {
    const auto file = parse(good().bytes());
    ASSERT_TRUE(file);
    ASSERT_EQ(file->tensors().size(), 4U);
    const Tensor& a = file->tensors()[0];
    EXPECT_EQ(a.name, "a");
    EXPECT_EQ(a.type, DataType::q8_0);
    EXPECT_EQ(a.bytes.size(), 34U);
    EXPECT_EQ(a.bytes[33], std::byte{'a'});
    const Tensor& b = file->tensors()[1];
    EXPECT_EQ(b.shape, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(b.type_name, "F32");
    EXPECT_EQ(b.bytes[0], std::byte{'b'});
    EXPECT_EQ(file->tensors()[2].type_name, "number 1000");
    EXPECT_EQ(file->tensors()[2].type, DataType::other);
    EXPECT_EQ(file->tensors()[3].type_name, "I64");
    EXPECT_EQ(file->tensors()[3].type, DataType::other);
}

TEST(Gguf, ReadsVersion2AndOtherAlignments) {
    GgufBytes file;
    file.version = 2;
    file.alignment = 8;
    file.integer("general.alignment", 8);
    file.tensor("a", {3}, 0, std::string(12, 'a')).tensor("b", {1}, 0, std::string(4, 'b'));
    const auto read = parse(file.bytes());
    ASSERT_TRUE(read) << read.error().what;
    EXPECT_EQ(read->tensors()[1].bytes[0], std::byte{'b'});
}

TEST(Gguf, KeepsItsViewsWhenItMoves) {
    const base::testing::TemporaryFolder folder;
    folder.write("x.gguf", good().bytes());
    auto file = Gguf::open(folder.path() + "/x.gguf");
    ASSERT_TRUE(file);
    const Gguf moved = std::move(*file);
    EXPECT_EQ(moved.text("general.architecture").value(), "qwen2");
    EXPECT_EQ(moved.tensors()[0].bytes[0], std::byte{'a'});
    EXPECT_EQ(moved.tensors()[0].file, folder.path() + "/x.gguf");
}

TEST(Gguf, IsTakenForAFileByContentOrName) {
    const base::testing::TemporaryFolder folder;
    folder.write("blob", "");
    std::filesystem::create_directory(folder.path() + "/folder.gguf");
    EXPECT_TRUE(is_gguf(folder.path() + "/blob"));
    EXPECT_TRUE(is_gguf(folder.path() + "/missing.gguf"));
    EXPECT_FALSE(is_gguf(folder.path() + "/missing"));
    EXPECT_FALSE(is_gguf(folder.path()));
    EXPECT_FALSE(is_gguf(folder.path() + "/folder.gguf"));
}

TEST(Gguf, RefusesAFileCutAtAnyByte) {
    GgufBytes file;
    file.text("general.architecture", "llama").texts("words", {"one", "two"});
    file.array("ids", ValueType::uint16, 3, std::string(6, 'x'));
    file.tensor("a", {2, 8}, 0, std::string(64, 'a'));
    const std::string bytes = file.bytes();
    ASSERT_TRUE(parse(bytes));
    for (std::size_t length = 0; length < bytes.size(); ++length)
        EXPECT_FALSE(parse(bytes.substr(0, length))) << length;
    EXPECT_TRUE(parse(bytes + "more"));
    expect_refused(bytes.substr(0, bytes.size() - 1), "tensor \"a\"");
    expect_refused(bytes.substr(0, bytes.size() - 1), "cut short");
}

// Everything that an accepted file gives lies inside of it.
void use(const Gguf& file, std::size_t file_bytes) {
    std::size_t total = 0;
    for (const Tensor& tensor : file.tensors()) {
        total += tensor.bytes.size();
        if (!tensor.bytes.empty()) EXPECT_LE(std::to_integer<int>(tensor.bytes.back()), 255);
    }
    EXPECT_LE(total, file_bytes);
    for (const GgufEntry& entry : file.entries()) {
        const std::string key(entry.key);
        (void)file.integer(key);
        (void)file.number(key);
        (void)file.flag(key);
        (void)file.text(key);
        (void)file.texts(key);
        (void)file.integers(key);
        (void)file.numbers(key);
    }
}

TEST(Gguf, SurvivesAnyByteBeingWrong) {
    const std::string bytes = good().bytes();
    std::size_t refused = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (const unsigned flip :
             {0x01U, 0x02U, 0x04U, 0x08U, 0x10U, 0x20U, 0x40U, 0x80U, 0xffU}) {
            std::string broken = bytes;
            broken[i] = static_cast<char>(static_cast<unsigned char>(broken[i]) ^ flip);
            const auto file = parse(broken);
            if (!file) {
                ++refused;
                EXPECT_THAT(file.error().what, HasSubstr("weights: "));
                continue;
            }
            use(*file, broken.size());
        }
    EXPECT_GT(refused, bytes.size());
}

TEST(Gguf, SurvivesDamage) {
    base::testing::expect_survives_damage(good().bytes(), "weights: ", [](const std::string& file) {
        auto read = parse(file);
        if (read) use(*read, file.size());
        return read;
    });
}

TEST(Gguf, RefusesHeadersOfOtherFormats) {
    expect_refused("", "ends inside the magic number");
    expect_refused("PK\3\4", "does not begin with GGUF");
    expect_refused("FUGG" + raw(std::uint32_t{0x0300'0000}), "big-endian");
    expect_refused("GGUF" + raw(std::uint32_t{0x0300'0000}), "big-endian");
    for (const std::uint32_t version : {0U, 1U, 4U, 0xffff'ffffU})
        expect_refused("GGUF" + raw(version) + std::string(64, '\0'), fmt::format("{}", version));
}

TEST(Gguf, RefusesLyingCountsWithoutReservingMemory) {
    const std::string begin = "GGUF" + raw(std::uint32_t{3});
    expect_refused(begin + raw(huge) + raw(std::uint64_t{0}), "tensors, more than");
    expect_refused(begin + raw(std::uint64_t{0}) + raw(huge), "metadata entries, more than");
    expect_refused(begin + raw(std::uint64_t{60'000}) + raw(std::uint64_t{0}), "the file ends");
    expect_refused(begin + raw(std::uint64_t{0}) + raw(std::uint64_t{60'000}), "the file ends");
    for (const std::uint64_t count : {huge, huge / 8, huge / 8 + 2, std::uint64_t{1} << 32}) {
        GgufBytes file;
        expect_refused(file.array("x", ValueType::uint64, count, "").bytes(), "reaches beyond");
        GgufBytes texts;
        expect_refused(texts.array("x", ValueType::string, count, "").bytes(), "the file ends");
        GgufBytes text;
        expect_refused(text.value("x", ValueType::string, raw(count) + "abc").bytes(),
                       "reaches beyond the end");
    }
}

TEST(Gguf, RefusesMetadataThatTheFormatDoesNotKnow) {
    const auto one = [](std::uint32_t type, const std::string& bytes) {
        // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): files hold any number.
        return GgufBytes().value("key", static_cast<ValueType>(type), bytes).bytes();
    };
    expect_refused(one(13, "x"), "key \"key\" has a value of the unknown type 13");
    expect_refused(one(9, raw(std::uint32_t{77}) + raw(std::uint64_t{0})), "unknown type 77");
    expect_refused(one(9, raw(std::uint32_t{9}) + raw(std::uint64_t{1}) + std::string(64, '\0')),
                   "array of arrays");
    expect_refused(one(7, "\2"), "bool");
    expect_refused(GgufBytes().integer("same", 1).integer("same", 1).bytes(),
                   "key \"same\" occurs twice");
    expect_refused(GgufBytes().integer(std::string(70'000, 'k'), 1).bytes(), "a key has 70000");
    for (const std::uint32_t alignment : {0U, 3U, 33U, 0x8000'0000U})
        expect_refused(GgufBytes().integer("general.alignment", alignment).bytes(),
                       "general.alignment");
    expect_refused(GgufBytes().text("general.alignment", "32").bytes(), "general.alignment");
}

TEST(Gguf, RefusesTensorsThatDoNotAddUp) {
    const std::string data(64, 'x');
    const auto one = [&](const std::vector<std::uint64_t>& shape, std::uint32_t type,
                         std::uint64_t offset = 0) {
        return GgufBytes().tensor_at("name", shape, type, offset, data).bytes();
    };
    ASSERT_TRUE(parse(one({16}, 0)));
    expect_refused(one({}, 0), "tensor \"name\" has 0 dimensions");
    expect_refused(one({1, 1, 1, 1, 1}, 0), "has 5 dimensions");
    expect_refused(one({4, 0}, 0), "a dimension of 0");
    expect_refused(one({17}, 0), "cut short");
    expect_refused(one({16}, 0, 32), "cut short");
    expect_refused(one({1}, 0, 96), "cut short");
    expect_refused(one({1}, 0, huge - 31), "cut short");
    expect_refused(one({1}, 0, 4), "not aligned to 32");
    expect_refused(one({33}, 8), "rows of 33 elements, no multiple of Q8_0's block of 32");
    expect_refused(one({256, 128}, 12), "no multiple of Q4_K's block of 256");
    // Products that come out right only when they wrap around.
    expect_refused(one({4'611'686'018'427'387'908, 4}, 0), "larger than any file");
    expect_refused(one({1ULL << 32, 1ULL << 32, 1ULL << 32, 1ULL << 32}, 0), "larger than any");
    expect_refused(one({huge, huge, huge, huge - 31}, 8), "larger than any");
    expect_refused(GgufBytes().tensor(std::string(65, 'n'), {1}, 0, "1234").bytes(),
                   "name has 65 bytes");
}

TEST(Gguf, RefusesOverlapsAndTwins) {
    const std::string data(32, 'x');
    const auto two = [&](std::string_view name, std::uint64_t offset) {
        return GgufBytes().tensor("a", {16}, 0, data + data).tensor_at(name, {8}, 0, offset, data);
    };
    ASSERT_TRUE(parse(two("b", 64).bytes()));
    expect_refused(two("b", 0).bytes(), "overlaps");
    expect_refused(two("b", 32).bytes(), "overlaps");
    expect_refused(two("a", 64).bytes(), "tensor \"a\" occurs twice");
}

// Work that grew with the square of the file would make this test take minutes.
TEST(Gguf, ReadsManyEntriesAndTensors) {
    GgufBytes file;
    for (int i = 0; i < 60'000; ++i) file.integer(fmt::format("key.{}", i), 1);
    for (int i = 0; i < 60'000; ++i) file.tensor(fmt::format("tensor.{}", i), {1}, 24, "x");
    const auto read = parse(file.bytes());
    ASSERT_TRUE(read) << read.error().what;
    EXPECT_EQ(read->tensors().size(), 60'000U);
    EXPECT_EQ(read->integer("key.59999").value(), 1U);
}

TEST(Gguf, ReadsPublishedVocabularies) {
    const std::string folder = HOLDFAST_SOURCE_DIR "/../shared/data";
    if (!std::filesystem::exists(folder + "/vocab-qwen2.gguf"))
        GTEST_SKIP() << "no vocab-qwen2.gguf in " << folder;
    const auto qwen2 = Gguf::open(folder + "/vocab-qwen2.gguf");
    ASSERT_TRUE(qwen2) << qwen2.error().what;
    EXPECT_EQ(qwen2->text("general.architecture").value(), "qwen2");
    EXPECT_EQ(qwen2->texts("tokenizer.ggml.tokens").value()->size(), 151'936U);
    EXPECT_EQ(qwen2->texts("tokenizer.ggml.merges").value()->size(), 151'387U);
    EXPECT_EQ(qwen2->integers("tokenizer.ggml.token_type").value()->size(), 151'936U);
    const auto llama = Gguf::open(folder + "/vocab-llama-bpe.gguf");
    ASSERT_TRUE(llama) << llama.error().what;
    EXPECT_EQ(llama->integer("tokenizer.ggml.bos_token_id").value(), 128'000U);
    EXPECT_EQ(llama->texts("tokenizer.ggml.merges").value()->size(), 280'147U);
}

}  // namespace
}  // namespace holdfast::tensor
