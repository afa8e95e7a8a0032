#include "inference/tensor/quantize.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "inference/tensor/float16.h"

namespace holdfast::tensor {
namespace {

namespace dom = simdjson::dom;
using Bytes = std::vector<std::byte>;

constexpr DataType all_types[] = {DataType::bf16, DataType::f16,  DataType::f32,  DataType::q8_0,
                                  DataType::q4_0, DataType::q4_k, DataType::q5_k, DataType::q6_k};
constexpr float infinity = std::numeric_limits<float>::infinity();

// Roughly normally distributed, as weights are.
std::vector<float> random_numbers(std::uint32_t seed, std::size_t count, float scale = 1) {
    std::vector<float> numbers(count);
    for (std::size_t i = 0; i < count; ++i) {
        float sum = -6;
        for (std::uint32_t part = 0; part < 12; ++part) sum += base::uniform(seed, part, i);
        numbers[i] = scale * sum;
    }
    return numbers;
}

Bytes quantized(DataType type, const std::vector<float>& from) {
    Bytes bytes(bytes_of(type, from.size()));
    quantize(type, from, bytes.data());
    return bytes;
}

std::vector<float> dequantized(DataType type, const Bytes& bytes, std::size_t count) {
    std::vector<float> numbers(count);
    dequantize(type, bytes.data(), numbers);
    return numbers;
}

std::vector<float> through(DataType type, const std::vector<float>& from) {
    return dequantized(type, quantized(type, from), from.size());
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        sum += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
    return sum;
}

// Root mean square error, as a share of the numbers' own root mean square.
double relative_error(DataType type, const std::vector<float>& from) {
    return std::sqrt(squared_error(from, through(type, from)) /
                     squared_error(from, std::vector<float>(from.size())));
}

TEST(Float16, WidensAndRoundsAsTheProcessorDoes) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto half = std::bit_cast<_Float16>(static_cast<std::uint16_t>(bits));
        const float wide = f16_to_float(static_cast<std::uint16_t>(bits));
        if (std::isnan(wide)) continue;
        ASSERT_EQ(wide, static_cast<float>(half)) << bits;
        ASSERT_EQ(float_to_f16(wide), bits);
        // Numbers between neighbours, the ties among them.
        const std::uint32_t begin = std::bit_cast<std::uint32_t>(wide);
        for (const std::uint32_t step : {1U, 0xfffU, 0x1000U, 0x1001U, 0x1fffU}) {
            const auto between = std::bit_cast<float>(begin + step);
            if (!std::isfinite(between)) continue;
            ASSERT_EQ(float_to_f16(between),
                      std::bit_cast<std::uint16_t>(static_cast<_Float16>(between)))
                << between;
        }
    }
    for (const float tiny : {1e-45F, 2.9e-8F, 0x1p-25F, 0x1.8p-24F, 0x1.002p-14F, -0x1p-26F, -0.0F})
        EXPECT_EQ(float_to_f16(tiny), std::bit_cast<std::uint16_t>(static_cast<_Float16>(tiny)));
}

TEST(Float16, RoundsToBf16ToNearestEven) {
    EXPECT_EQ(float_to_bf16(1.0F), 0x3f80);
    EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f80'8000U)), 0x3f80);
    EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f80'8001U)), 0x3f81);
    EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f81'8000U)), 0x3f82);
    EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
    EXPECT_EQ(float_to_bf16(-0.0F), 0x8000);
}

class Golden : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_FALSE(
            parser_.load(HOLDFAST_SOURCE_DIR "/tests/golden/quantization.json").get(records_));
    }

    static Bytes bytes(dom::object record, const char* field) {
        const std::string_view text = record[field].get_string().value();
        Bytes bytes;
        for (std::size_t i = 0; i < text.size(); i += 2)
            bytes.push_back(
                static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
        return bytes;
    }

    static std::vector<float> numbers(dom::object record) {
        const Bytes raw = bytes(record, "values");
        std::vector<float> numbers(raw.size() / sizeof(float));
        std::memcpy(numbers.data(), raw.data(), raw.size());
        return numbers;
    }

    static DataType type(dom::object record) {
        std::string text(record["type"].get_string().value());
        for (char& c : text) c = static_cast<char>(std::tolower(c));
        return find_data_type(text).value();
    }

    // The records of one kind.
    std::vector<dom::object> all(const char* kind) {
        std::vector<dom::object> found;
        for (const dom::element element : records_) {
            dom::object record;
            if (!element[kind].get(record)) found.push_back(record);
        }
        return found;
    }

    dom::parser parser_;
    dom::array records_;
};

TEST_F(Golden, DequantizesEveryTypeToTheBit) {
    ASSERT_EQ(all("dequantize").size(), 5U);
    for (const dom::object record : all("dequantize")) {
        const auto expected = numbers(record);
        const auto found = dequantized(type(record), bytes(record, "blocks"), expected.size());
        for (std::size_t i = 0; i < expected.size(); ++i)
            ASSERT_EQ(found[i], expected[i]) << name(type(record)) << " " << i;
    }
}

TEST_F(Golden, RoundsFloatsAsTheReferenceDoesAndQuantizesNoWorse) {
    ASSERT_EQ(all("quantize").size(), 4U);
    for (const dom::object record : all("quantize")) {
        const auto from = numbers(record);
        if (!is_quantized(type(record)))
            EXPECT_EQ(quantized(type(record), from), bytes(record, "blocks"));
        EXPECT_LE(squared_error(from, through(type(record), from)),
                  record["squared_error"].get_double().value() * 1.0001)
            << name(type(record));
    }
}

TEST(Quantize, KeepsWhatTheTypeCanHoldExactly) {
    // Every row is made by dequantizing, so that an exact block exists.
    const auto seeds = random_numbers(1, 1'024);
    for (const DataType type : all_types) {
        const auto exact = through(type, seeds);
        EXPECT_LT(relative_error(type, exact), 0.004) << name(type);
        const std::vector<float> zeros(256);
        EXPECT_EQ(through(type, zeros), zeros) << name(type);
    }
}

TEST(Quantize, StaysWithinEachTypesErrorAtAnyMagnitude) {
    struct Bound {
        DataType type;
        double error;
    };
    constexpr Bound bounds[] = {{DataType::bf16, 0.002}, {DataType::f16, 0.0003},
                                {DataType::f32, 0},      {DataType::q8_0, 0.007},
                                {DataType::q4_0, 0.1},   {DataType::q4_k, 0.075},
                                {DataType::q5_k, 0.037}, {DataType::q6_k, 0.02}};
    for (const auto& [type, error] : bounds)
        for (const float scale : {1.0F, 0.02F, 500.0F})
            EXPECT_LE(relative_error(type, random_numbers(2, 8'192, scale)), error)
                << name(type) << " " << scale;
}

TEST(Quantize, FindsScalesOfLopsidedBlocks) {
    // All positive, all negative, constant, and one outlier.
    for (const DataType type : {DataType::q4_k, DataType::q5_k, DataType::q6_k}) {
        auto lopsided = random_numbers(3, 1'024);
        for (std::size_t i = 0; i < 256; ++i) {
            lopsided[i] = 5 + lopsided[i];
            lopsided[256 + i] = -5 + lopsided[256 + i];
            lopsided[512 + i] = i < 128 ? 0.75F : -0.75F;
        }
        lopsided[900] = 40;
        EXPECT_LT(relative_error(type, lopsided), 0.06) << name(type);
    }
}

TEST(Quantize, GivesTheSameBlockWhereverItStandsInARow) {
    const auto from = random_numbers(4, 1'024);
    for (const DataType type : all_types) {
        const Bytes whole = quantized(type, from);
        const Bytes part = quantized(type, {from.begin() + 256, from.begin() + 512});
        EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + bytes_of(type, 256)))
            << name(type);
    }
}

TEST(Quantize, SurvivesNumbersOfAllMagnitudes) {
    for (const DataType type : all_types)
        for (const float scale : {1e-44F, 1e-38F, 1e-20F, 1e-8F, 1e3F}) {
            const auto from = random_numbers(5, 512, scale);
            const Bytes bytes = quantized(type, from);
            EXPECT_EQ(find_not_finite(type, bytes.data(), 512), 512U) << name(type) << scale;
            for (const float value : dequantized(type, bytes, 512))
                EXPECT_LE(std::abs(value), 8 * scale) << name(type);
        }
}

TEST(Quantize, MarksWhatIsBeyondTheRange) {
    std::vector<float> from(512, 1.0F);
    from[300] = 3e38F;
    from[301] = -3e38F;
    for (const DataType type : all_types) {
        if (type == DataType::f32 || type == DataType::bf16) continue;
        const std::size_t block = traits(type).block_elements;
        EXPECT_EQ(find_not_finite(type, quantized(type, from).data(), 512), 300 / block * block)
            << name(type);
    }
}

TEST(FindNotFinite, SeesEveryScaleOfEveryType) {
    constexpr std::size_t count = 16'384;  // more than one strip of blocks
    for (const DataType type : all_types) {
        const auto [type_name, block, block_bytes] = traits(type);
        Bytes bytes = quantized(type, random_numbers(6, count));
        EXPECT_EQ(find_not_finite(type, bytes.data(), count), count);
        std::vector<std::size_t> scales = {0};
        if (type == DataType::q4_k || type == DataType::q5_k) scales.push_back(2);
        if (type == DataType::q6_k) scales = {208};
        if (type == DataType::f32) scales = {2};  // the upper half of the number
        for (const std::size_t scale : scales)
            for (const std::size_t at : {count / block - 1, count / block / 2, std::size_t{0}})
                for (const std::uint16_t bad : {0xff80, 0x7f81}) {
                    Bytes broken = bytes;
                    store_u16(broken.data() + at * block_bytes + scale, bad);
                    EXPECT_EQ(find_not_finite(type, broken.data(), count), at * block) << type_name;
                }
    }
}

TEST(FindNotFinite, GivesTheFirstOfSeveral) {
    std::vector<float> numbers(10'000, 1.0F);
    numbers[9'000] = infinity;
    numbers[5'001] = std::nanf("");
    EXPECT_EQ(find_not_finite(DataType::f32, quantized(DataType::f32, numbers).data(), 10'000),
              5'001U);
}

}  // namespace
}  // namespace holdfast::tensor
