#include "tools/convert/model_metadata.h"

#include <cmath>
#include <numbers>
#include <string>

#include "common/base/assert.h"

namespace holdfast::convert {
namespace {

using tensor::DataType;

// The numbers of llama_ftype in llama.cpp's include/llama.h.
std::uint32_t file_type(DataType type) {
    switch (type) {
        case DataType::f32:
            return 0;
        case DataType::f16:
            return 1;
        case DataType::q4_0:
            return 2;
        case DataType::q8_0:
            return 7;
        case DataType::q4_k:
            return 14;
        case DataType::q5_k:
            return 16;
        case DataType::q6_k:
            return 18;
        case DataType::bf16:
            return 32;
        case DataType::other:
            break;
    }
    HF_ASSERT(false);
}

}  // namespace

void add_model(const tensor::Config& config, std::string_view name,
               tensor::GgufMetadata& metadata) {
    const auto key = [&](std::string_view rest) {
        return fmt::format("{}.{}", config.architecture, rest);
    };
    metadata.text("general.architecture", config.architecture);
    metadata.text("general.type", "model");
    metadata.text("general.name", name);
    metadata.integer(key("block_count"), config.layers);
    metadata.integer(key("context_length"), config.context);
    metadata.integer(key("embedding_length"), config.hidden);
    metadata.integer(key("feed_forward_length"), config.ffn);
    metadata.integer(key("attention.head_count"), config.heads);
    metadata.integer(key("attention.head_count_kv"), config.kv_heads);
    metadata.integer(key("attention.key_length"), config.head_dim);
    metadata.integer(key("attention.value_length"), config.head_dim);
    metadata.integer(key("rope.dimension_count"), config.head_dim);
    metadata.integer(key("vocab_size"), config.vocab);
    metadata.number(key("rope.freq_base"), config.rope_theta);
    metadata.number(key("attention.layer_norm_rms_epsilon"), config.rms_norm_epsilon);
}

void add_file_type(DataType type, tensor::GgufMetadata& metadata) {
    metadata.integer("general.file_type", file_type(type));
    metadata.integer("general.quantization_version", 2);
}

std::vector<float> rope_divisors(const tensor::RopeScaling& scaling, double theta,
                                 std::uint32_t head_dim) {
    std::vector<float> divisors;
    for (std::uint32_t i = 0; i < head_dim / 2; ++i) {
        const double frequency = std::pow(theta, -2.0 * i / head_dim);
        // How often the wave turns within the original context.
        const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);
        const double low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
        double divisor = 1;
        if (turns < low) {
            divisor = scaling.factor;
        } else if (turns <= high) {
            const double share = (turns - low) / (high - low);
            divisor = 1 / ((1 - share) / scaling.factor + share);
        }
        divisors.push_back(static_cast<float>(divisor));
    }
    return divisors;
}

}  // namespace holdfast::convert
