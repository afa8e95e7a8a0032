// The plain kernels against the integer model of the tensor core, bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <span>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/memory.h"
#include "inference/backend/cuda/reference.h"
#include "inference/backend/cuda/test_device.h"
#include "inference/backend/cuda/test_operands.h"

namespace holdfast::cuda {
namespace {

using testing::to_bf16;

float noise(std::uint32_t stream, std::size_t i) { return 2 * base::uniform(3, stream, i) - 1; }

// On the device; ends the test's thread with an error if there is not so much.
DeviceMemory zeros(std::size_t bytes) {
    auto memory = DeviceMemory::reserve(bytes);
    EXPECT_TRUE(memory) << memory.error().what;
    return std::move(*memory);
}

template <class T>
DeviceMemory on_device(const std::vector<T>& values) {
    DeviceMemory memory = zeros(values.size() * sizeof(T));
    EXPECT_TRUE(memory.write(0, std::as_bytes(std::span(values))));
    return memory;
}

template <class T>
std::vector<T> from_device(const DeviceMemory& memory) {
    std::vector<T> values(memory.bytes() / sizeof(T));
    EXPECT_TRUE(memory.read(0, std::as_writable_bytes(std::span(values))));
    return values;
}

// One product, its operands on both sides.
struct World {
    World(Role role, std::uint32_t rows, std::uint32_t inputs, std::uint32_t tokens)
        : shape{role, rows, inputs}, capacity(padded(tokens, 64)), count(tokens) {
        std::vector<std::uint16_t> x_image(activation_bytes(capacity, inputs) / 2, 0x7fff);  // NaN
        for (std::size_t i = 0; i < std::size_t{rows} * inputs; ++i)
            weights.push_back(to_bf16(noise(1, i) * std::exp2(6 * noise(2, i))));
        for (std::uint32_t token = 0; token < capacity; ++token)
            for (std::uint32_t k = 0; k < padded(inputs, block_k); ++k) {
                const std::size_t i = std::size_t{token} * inputs + k;
                const std::uint16_t bits = k < inputs ? to_bf16(noise(4, i)) : 0;
                if (token < tokens) x_image[activation_at(capacity, token, k) / 2] = bits;
                if (token < tokens && k < inputs) x.push_back(bits);
            }
        packed = zeros(shape.bytes());
        const DeviceMemory raw = on_device(weights);
        EXPECT_EQ(launch(Pack{shape, 0, 0, rows, static_cast<const std::uint16_t*>(raw.data()),
                              packed.data()},
                         nullptr),
                  0);
        x_device = on_device(x_image);
    }

    Product product() const {
        return {shape, packed.data(), x_device.data(), capacity, count, nullptr};
    }

    // The sum that profile.h describes.
    float sum(std::uint32_t row, std::uint32_t token) const {
        const auto w = std::span(weights).subspan(std::size_t{row} * shape.inputs, shape.inputs);
        const auto v = std::span(x).subspan(std::size_t{token} * shape.inputs, shape.inputs);
        const std::uint32_t parts = segments(shape.role);
        if (parts == 1) return tensor_core_chain(Operand::bf16, w, v);
        float total = 0;
        for (std::uint32_t s = 0; s < parts; ++s) {
            const std::uint32_t begin = segment_begin(s, parts, shape.blocks()) * block_k;
            const std::uint32_t end =
                std::min(segment_begin(s + 1, parts, shape.blocks()) * block_k, shape.inputs);
            if (begin < end)
                total += tensor_core_chain(Operand::bf16, w.subspan(begin, end - begin),
                                           v.subspan(begin, end - begin));
        }
        return total;
    }

    MatrixShape shape;
    std::uint32_t capacity, count;
    std::vector<std::uint16_t> weights, x;
    DeviceMemory packed, x_device;
};

TEST(Linear, LogitsAreTheReferenceTimesTheFactorOfTheirToken) {
    HF_NEEDS_DEVICE();
    for (const std::uint32_t tokens : {1u, 8u, 9u, 70u}) {
        const World world(Role::head, 200, 384, tokens);
        std::vector<float> squares(std::size_t{2} * world.capacity);
        for (std::size_t i = 0; i < squares.size(); ++i) squares[i] = 64 * (noise(5, i) + 1.5F);
        const DeviceMemory squares_device = on_device(squares);
        const DeviceMemory out = zeros(std::size_t{tokens} * world.shape.rows * sizeof(float));
        // The columns in opposite order.
        std::vector<std::uint32_t> columns;
        for (std::uint32_t i = 0; i < tokens; ++i) columns.push_back(tokens - 1 - i);
        const DeviceMemory columns_device = on_device(columns);
        Product product = world.product();
        product.columns = static_cast<const std::uint32_t*>(columns_device.data());
        const Scale scale{static_cast<const float*>(squares_device.data()), 128, 1e-6F};
        ASSERT_EQ(launch(Logits{product, scale, static_cast<float*>(out.data())}, nullptr), 0);
        const auto got = from_device<float>(out);
        for (std::uint32_t i = 0; i < tokens; ++i) {
            const std::uint32_t token = columns[i];
            const float mean = (squares[token] + squares[world.capacity + token]) / 128.0F;
            const float r = 1.0F / std::sqrt(mean + 1e-6F);
            for (std::uint32_t row = 0; row < world.shape.rows; ++row)
                ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i * world.shape.rows + row]),
                          std::bit_cast<std::uint32_t>(r * world.sum(row, token)))
                    << tokens << " tokens, row " << row << ", token " << token;
        }
    }
}

TEST(Linear, ResidualsAreTheReferenceAddedAndSquaredInATree) {
    HF_NEEDS_DEVICE();
    // 128 inputs have two blocks in four segments, 576 nine.
    for (const std::uint32_t inputs : {128u, 384u, 576u})
        for (const std::uint32_t tokens : {1u, 9u, 70u}) {
            const std::uint32_t hidden = 128;
            const World world(Role::down, hidden, inputs, tokens);
            std::vector<float> h, norm;
            for (std::size_t i = 0; i < std::size_t{tokens} * hidden; ++i) h.push_back(noise(6, i));
            for (std::size_t i = 0; i < hidden; ++i) norm.push_back(noise(7, i));
            const DeviceMemory h_device = on_device(h), norm_device = on_device(norm);
            const DeviceMemory x = zeros(activation_bytes(world.capacity, hidden));
            const DeviceMemory squares = zeros(std::size_t{2} * world.capacity * sizeof(float));
            ASSERT_EQ(launch(AddResidual{world.product(),
                                         {static_cast<float*>(h_device.data()), x.data(),
                                          static_cast<float*>(squares.data()),
                                          static_cast<const float*>(norm_device.data()), hidden}},
                             nullptr),
                      0);
            const auto new_h = from_device<float>(h_device);
            const auto new_x = from_device<std::uint16_t>(x);
            const auto new_squares = from_device<float>(squares);
            for (std::uint32_t token = 0; token < tokens; ++token) {
                std::vector<float> level;  // of the tree: i = 16 w + 8 u + g as w, g, u
                for (std::uint32_t i = 0; i < hidden; ++i) {
                    const float want = h[token * hidden + i] + world.sum(i, token);
                    ASSERT_EQ(std::bit_cast<std::uint32_t>(new_h[token * hidden + i]),
                              std::bit_cast<std::uint32_t>(want));
                    ASSERT_EQ(new_x[activation_at(world.capacity, token, i) / 2],
                              to_bf16(want * norm[i]));
                }
                for (std::uint32_t at = 0; at < hidden; ++at) {
                    const std::uint32_t i = at / 16 * 16 + at % 2 * 8 + at % 16 / 2;
                    const float value = new_h[token * hidden + i];
                    level.push_back(value * value);
                }
                while (level.size() > 2) {
                    for (std::size_t i = 0; i < level.size() / 2; ++i)
                        level[i] = level[2 * i] + level[2 * i + 1];
                    level.resize(level.size() / 2);
                }
                for (std::uint32_t tile = 0; tile < 2; ++tile)
                    ASSERT_EQ(
                        std::bit_cast<std::uint32_t>(new_squares[tile * world.capacity + token]),
                        std::bit_cast<std::uint32_t>(level[tile]));
            }
        }
}

}  // namespace
}  // namespace holdfast::cuda
