// What the kernels compute, against digests that were recorded on one machine: the same bits on all
// processors, of all makers. Lines: numerics, what was computed, 128-bit XXH3 of its float32s.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/random.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/kv_cache.h"
#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/packed.h"
#include "inference/tensor/quantize.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;
using tensor::KvType;
using Values = std::vector<float>;
using Digests = std::map<std::string, std::string>;

Values noise(std::size_t count, std::uint32_t stream) {
    Values values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = 2 * base::uniform(31, stream, i) - 1;
    return values;
}

std::string digest(const Values& values) {
    const base::Hash128 hash = base::hash128(std::as_bytes(std::span(values)));
    return fmt::format("{:016x}{:016x}", hash.high, hash.low);
}

Digests recorded(Numerics numerics) {
    std::ifstream file(HOLDFAST_SOURCE_DIR "/tests/golden/kernels_digest.txt");
    EXPECT_TRUE(file.is_open());
    Digests lines;
    std::string profile, what, value;
    while (file >> profile >> what >> value)
        if (profile == name(numerics)) lines[what] = value;
    return lines;
}

// A layer of each epilogue, for one row and for many.
void add_linear(Isa isa, Numerics numerics, DataType type, Digests& to) {
    constexpr std::uint32_t inputs = 1'536, outputs = 320, rows = 37;
    const std::size_t stride = row_stride(inputs);
    auto ops = Ops::make(isa, 2, rows, inputs);
    auto matrix = PackedMatrix::reserve(type, outputs, inputs, numerics);
    ASSERT_TRUE(ops && matrix);
    std::vector<Values> numbers(outputs);
    for (std::uint32_t i = 0; i < outputs; ++i) numbers[i] = noise(inputs, 1'000 + i);
    matrix->fill((*ops)->pool(), [&](std::uint32_t output) {
        return tensor::SourceRow{DataType::f32, std::as_bytes(std::span(numbers[output])).data()};
    });
    Values x = noise(rows * stride, 1);
    const Values bias = noise(outputs, 2);
    for (const std::uint32_t count : {1U, rows})
        for (const auto& [what, epilogue] : {std::pair{"store", Epilogue::store},
                                             {"add", Epilogue::add},
                                             {"swiglu", Epilogue::swiglu}}) {
            Values y = noise(std::size_t{count} * outputs, 3);
            const float* const added = epilogue == Epilogue::store ? bias.data() : nullptr;
            (*ops)->linear(*matrix, {x.data(), stride}, count,
                           {{y.data(), outputs}, epilogue, added});
            to[fmt::format("linear-{}-{}-{}", name(type), what, count)] = digest(y);
        }
}

void add_attention(const Kernels& kernels, KvType type, Digests& to) {
    constexpr std::uint32_t heads = 6, kv_heads = 2, head_dim = 128, tokens = 300;
    std::vector<std::uint32_t> blocks(tokens / key_block_tokens + 1);
    std::iota(blocks.begin(), blocks.end(), 0U);
    auto cache =
        KvCache::reserve({type, 1, static_cast<std::uint32_t>(blocks.size()), kv_heads, head_dim});
    ASSERT_TRUE(cache);
    for (std::uint32_t t = 0; t < tokens; ++t)
        cache->keep(0, blocks[t / key_block_tokens], t % key_block_tokens,
                    noise(std::size_t{kv_heads} * head_dim, 10'000 + t).data(),
                    noise(std::size_t{kv_heads} * head_dim, 20'000 + t).data());
    const Values queries = noise(std::size_t{heads} * head_dim, 4);
    Values out(queries.size());
    const AttentionJob job{.kept = cache->layer(0),
                           .blocks = blocks.data(),
                           .position = tokens - 1,
                           .heads = heads,
                           .kv_heads = kv_heads,
                           .head_dim = head_dim,
                           .scale = 0.25F,
                           .queries = queries.data(),
                           .query_stride = queries.size(),
                           .out = out.data(),
                           .out_stride = out.size()};
    for (std::uint32_t head = 0; head < kv_heads; ++head)
        for (std::uint32_t i = 0; i < heads / kv_heads; ++i) kernels.attention(job, head, i, i + 1);
    to[fmt::format("attention-{}", name(type))] = digest(out);
}

Digests computed(Isa isa) {
    Digests lines;
    for (int i = 0; i < static_cast<int>(DataType::other); ++i)
        add_linear(isa, Numerics::portable, static_cast<DataType>(i), lines);
    for (const KvType type : tensor::all_kv_types) add_attention(kernels(isa), type, lines);
    const Values x = noise(1'536, 5), weight = noise(1'536, 6);
    Values y(x.size());
    kernels(isa).rms_norm(x.data(), weight.data(), 1'536, 1e-6F, y.data());
    lines["rms_norm"] = digest(y);
    Values powers(20'001);
    for (int i = 0; i <= 20'000; ++i) powers[i] = static_cast<float>(i - 10'000) / 100;
    y.resize(powers.size());
    kernels(isa).exponential(powers.data(), 20'001, y.data());
    lines["exponential"] = digest(y);
    return lines;
}

// What a new profile's lines in the file would be.
std::string text(Numerics numerics, const Digests& digests) {
    std::string lines;
    for (const auto& [what, value] : digests)
        lines += fmt::format("{} {} {}\n", name(numerics), what, value);
    return lines;
}

TEST(KernelsDigest, IsTheRecordedOneForAllInstructionSets) {
    const Digests wanted = recorded(Numerics::portable);
    for (const Isa isa : all_isas) {
        if (!is_supported(isa)) continue;
        const Digests own = computed(isa);
        EXPECT_EQ(own, wanted) << name(isa) << "\n" << text(Numerics::portable, own);
    }
}

class NativeDigest : public ::testing::TestWithParam<Numerics> {};

TEST_P(NativeDigest, IsTheRecordedOneWhereverTheInstructionsExist) {
    if (!has_numerics(GetParam())) GTEST_SKIP() << "not on this processor: " << name(GetParam());
    Digests own;
    add_linear(Isa::scalar, GetParam(), DataType::bf16, own);
    EXPECT_EQ(own, recorded(GetParam())) << text(GetParam(), own);
}

INSTANTIATE_TEST_SUITE_P(All, NativeDigest, ::testing::Values(Numerics::bf16dot, Numerics::amx),
                         [](const auto& test) {
                             return test.param == Numerics::amx ? "Amx" : "Bf16Dot";
                         });

}  // namespace
}  // namespace holdfast::cpu
