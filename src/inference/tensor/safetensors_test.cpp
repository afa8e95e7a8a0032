#include "inference/tensor/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "common/base/test_damage.h"

namespace holdfast::tensor {
namespace {

using ::testing::HasSubstr;

std::string file_with(const std::string& header, std::size_t data_bytes) {
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
           std::string(data_bytes, '\x11');
}

// Parses from memory that ends exactly with the file, so that a sanitizer sees a read beyond it.
base::Result<std::vector<Tensor>> parse(const std::string& file) {
    static std::vector<std::byte> bytes;
    bytes.assign(reinterpret_cast<const std::byte*>(file.data()),
                 reinterpret_cast<const std::byte*>(file.data()) + file.size());
    bytes.shrink_to_fit();
    return parse_safetensors(bytes, "weights");
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
    return R"(")" + name + R"(":{"dtype":")" + type + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + "}";
}

void expect_refused(const std::string& file, const std::string& reason) {
    const auto result = parse(file);
    ASSERT_FALSE(result) << reason;
    EXPECT_EQ(result.error().code, base::Code::invalid);
    EXPECT_THAT(result.error().what, HasSubstr("weights"));
    EXPECT_THAT(result.error().what, HasSubstr(reason));
}

const std::string good_header =
    "{"
    R"("__metadata__":{"format":"pt"},)" +
    entry("b", "BF16", "[2,3]", "[0,12]") + "," + entry("a", "F32", "[1]", "[12,16]") + "," +
    entry("scalar", "F16", "[]", "[16,18]") + "," + entry("ids", "I64", "[2]", "[18,34]") + "}  ";

TEST(Safetensors, GivesTensorsByNameWithTypeShapeAndBytes) {
    std::string file = file_with(good_header, 34);
    file[8 + good_header.size() + 12] = 'x';
    const auto tensors = parse(file);
    ASSERT_TRUE(tensors) << tensors.error().what;
    ASSERT_EQ(tensors->size(), 4U);
    const Tensor& a = tensors->at(0);
    EXPECT_EQ(a.name, "a");
    EXPECT_EQ(a.type, DataType::f32);
    EXPECT_EQ(a.bytes.size(), 4U);
    EXPECT_EQ(a.bytes[0], std::byte{'x'});
    const Tensor& b = tensors->at(1);
    EXPECT_EQ(b.type, DataType::bf16);
    EXPECT_EQ(b.shape, (std::vector<std::uint64_t>{2, 3}));
    EXPECT_EQ(tensors->at(2).name, "ids");
    EXPECT_EQ(tensors->at(2).type, DataType::other);
    EXPECT_TRUE(tensors->at(3).shape.empty());
}

TEST(Safetensors, RefusesAFileCutAtAnyByte) {
    const std::string file = file_with(good_header, 34);
    for (std::size_t length = 0; length < file.size(); ++length)
        EXPECT_FALSE(parse(file.substr(0, length))) << length;
    EXPECT_FALSE(parse(file + "x"));
}

TEST(Safetensors, SurvivesAnyByteOfTheHeaderBeingWrong) {
    const std::string file = file_with(good_header, 34);
    for (std::size_t i = 0; i < 8 + good_header.size(); ++i)
        for (const char wrong : {'\0', '"', '9', '{', '\xff'}) {
            std::string broken = file;
            broken[i] = wrong;
            if (const auto tensors = parse(broken))
                for (const Tensor& tensor : *tensors) EXPECT_LE(tensor.bytes.size(), 34U);
        }
}

TEST(Safetensors, SurvivesDamage) {
    base::testing::expect_survives_damage(
        file_with(good_header, 34), "weights", [](const std::string& file) {
            auto tensors = parse(file);
            if (tensors)
                for (const Tensor& tensor : *tensors)
                    EXPECT_EQ(std::ranges::count(tensor.bytes, std::byte{'y'}), 0);
            return tensors;
        });
}

TEST(Safetensors, RefusesLyingHeaderLengths) {
    for (const std::uint64_t length :
         {std::uint64_t{11}, std::uint64_t{100'000'000}, std::uint64_t{100'000'001},
          std::uint64_t{1} << 63, std::numeric_limits<std::uint64_t>::max()}) {
        std::string file(18, ' ');
        std::memcpy(file.data(), &length, sizeof length);
        expect_refused(file, "header length");
    }
}

TEST(Safetensors, RefusesHeadersThatAreNotWhatTheFormatSays) {
    expect_refused(file_with("", 0), "not JSON");
    expect_refused(file_with("{", 0), "not JSON");
    expect_refused(file_with("[]", 0), "not an object");
    expect_refused(file_with(std::string(5'000, '['), 0), "not JSON");
    expect_refused(file_with(R"({"a":1})", 0), "is not an object");
    expect_refused(file_with(R"({"a":{}})", 0), "no \"dtype\"");
    expect_refused(file_with(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "no \"data_offsets\"");
    expect_refused(file_with(R"({"a":{"dtype":"F32","dtype":"F32"}})", 4), "twice");
    expect_refused(file_with(R"({"a":{"kind":1}})", 4), "unknown field");
    expect_refused(file_with(R"({"__metadata__":7})", 0), "__metadata__");
    const auto one = [](const std::string& type, const std::string& shape,
                        const std::string& offsets) {
        return file_with("{" + entry("a", type, shape, offsets) + "}", 16);
    };
    expect_refused(one("F33", "[4]", "[0,16]"), "unknown dtype \"F33\"");
    expect_refused(one("F32", "4", "[0,16]"), "not an array");
    expect_refused(one("F32", "[0]", "[0,16]"), "dimension 0");
    expect_refused(one("F32", "[2,-2]", "[0,16]"), "dimension 1");
    expect_refused(one("F32", "[4.0]", "[0,16]"), "dimension 0");
    expect_refused(one("F32", "[1,1,1,1,1,1,1,1,4]", "[0,16]"), "more than 8");
    expect_refused(one("F32", "[4]", "[0]"), "data_offsets");
    expect_refused(one("F32", "[4]", "[-1,16]"), "data_offsets");
    expect_refused(one("F32", "[4]", "[0,1e1]"), "data_offsets");
}

TEST(Safetensors, RefusesSizesThatDoNotAgree) {
    const auto one = [](const std::string& shape, const std::string& offsets) {
        return file_with("{" + entry("a", "F32", shape, offsets) + "}", 16);
    };
    expect_refused(one("[4]", "[0,17]"), "outside");
    expect_refused(one("[4]", "[16,0]"), "outside");
    expect_refused(one("[4]", "[0,18446744073709551615]"), "outside");
    expect_refused(one("[3]", "[0,16]"), "do not agree");
    // Products that come out right only when they wrap around.
    expect_refused(one("[4611686018427387905,4]", "[0,16]"), "do not agree");
    expect_refused(one("[4294967296,4294967296,4294967296,4294967296]", "[0,16]"), "do not agree");
    expect_refused(one("[18446744073709551615,18446744073709551615]", "[0,16]"), "do not agree");
}

TEST(Safetensors, RefusesGapsOverlapsAndTwins) {
    const auto two = [](const std::string& first, const std::string& second,
                        const std::string& name = "b") {
        return file_with(
            "{" + entry("a", "F32", "[2]", first) + "," + entry(name, "F32", "[2]", second) + "}",
            16);
    };
    ASSERT_TRUE(parse(two("[8,16]", "[0,8]")));
    expect_refused(two("[0,8]", "[4,12]"), "overlaps");
    expect_refused(two("[0,8]", "[0,8]"), "overlaps");
    expect_refused(two("[0,8]", "[8,16]", "a"), "occurs twice");
    expect_refused(file_with("{" + entry("a", "F32", "[2]", "[8,16]") + "}", 16), "gap");
    expect_refused(file_with("{" + entry("a", "F32", "[2]", "[0,8]") + "}", 16), "end at");
}

}  // namespace
}  // namespace holdfast::tensor
