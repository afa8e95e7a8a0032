// The configuration in the metadata of a GGUF file.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config_checks.h"
#include "inference/tensor/gguf.h"

namespace holdfast::tensor {
namespace {

using base::Code;
using base::Result;

// Keys below "ARCHITECTURE.", such as "qwen2.block_count".
class Keys {
public:
    Keys(const Gguf& gguf, std::string architecture)
        : gguf_(gguf), prefix_(std::move(architecture) + ".") {}

    std::string key(std::string_view name) const { return fmt::format("{}{}", prefix_, name); }

    std::unexpected<base::Error> wrong(std::string_view name, std::string_view reason) const {
        return base::fail(Code::invalid, "{}: key \"{}{}\" {}", gguf_.file(), prefix_, name,
                          reason);
    }

    // An integer in [1, max].
    Result<std::optional<std::uint32_t>> find_count(std::string_view name,
                                                    std::uint32_t max) const {
        HF_TRY_ASSIGN(const auto value, gguf_.integer(key(name)));
        if (!value) return std::nullopt;
        if (*value == 0 || *value > max)
            return wrong(name, fmt::format("is {}, not in [1, {}]", *value, max));
        return static_cast<std::uint32_t>(*value);
    }

    Result<std::uint32_t> count(std::string_view name, std::uint32_t max) const {
        HF_TRY_ASSIGN(const auto value, find_count(name, max));
        if (!value) return wrong(name, "is missing");
        return *value;
    }

    Result<std::optional<float>> find_number(std::string_view name, double min, double max) const {
        HF_TRY_ASSIGN(const auto value, gguf_.number(key(name)));
        if (!value) return std::nullopt;
        if (!(*value >= min && *value <= max))
            return wrong(name, fmt::format("is {}, not in [{}, {}]", *value, min, max));
        return static_cast<float>(*value);
    }

    const Gguf& gguf() const { return gguf_; }

private:
    const Gguf& gguf_;
    std::string prefix_;
};

Result<> read_head_dim(const Keys& keys, Config& config) {
    HF_TRY_ASSIGN(const auto key_length, keys.find_count("attention.key_length", head_dim_max));
    HF_TRY_ASSIGN(const auto value_length, keys.find_count("attention.value_length", head_dim_max));
    HF_TRY_ASSIGN(const auto rotated, keys.find_count("rope.dimension_count", head_dim_max));
    if (!key_length && !rotated && config.hidden % config.heads != 0)
        return keys.wrong("embedding_length",
                          fmt::format("({}) is no multiple of {} ({})", config.hidden,
                                      keys.key("attention.head_count"), config.heads));
    config.head_dim =
        key_length.value_or(rotated.value_or(std::max(1U, config.hidden / config.heads)));
    for (const auto& [name, length] : {std::pair("attention.value_length", value_length),
                                       std::pair("rope.dimension_count", rotated)})
        if (length.value_or(config.head_dim) != config.head_dim)
            return keys.wrong(
                name, fmt::format("is {}, not the length of a key ({})", *length, config.head_dim));
    return {};
}

Result<> read_shape(const Keys& keys, Config& config) {
    HF_TRY_ASSIGN(config.hidden, keys.count("embedding_length", hidden_max));
    HF_TRY_ASSIGN(config.ffn, keys.count("feed_forward_length", ffn_max));
    HF_TRY_ASSIGN(config.layers, keys.count("block_count", layers_max));
    HF_TRY_ASSIGN(config.heads, keys.count("attention.head_count", heads_max));
    HF_TRY_ASSIGN(const auto kv_heads, keys.find_count("attention.head_count_kv", heads_max));
    config.kv_heads = kv_heads.value_or(config.heads);
    HF_TRY_ASSIGN(config.context, keys.count("context_length", context_max));
    HF_TRY(read_head_dim(keys, config));
    return check_shape(config,
                       {.hidden = keys.key("embedding_length"),
                        .ffn = keys.key("feed_forward_length"),
                        .heads = keys.key("attention.head_count"),
                        .kv_heads = keys.key("attention.head_count_kv"),
                        .head_dim = keys.key("attention.key_length")},
                       fmt::format("{}: key", keys.gguf().file()));
}

// Llama 3's stretching is no type of scaling here: it stands in the tensor rope_freqs. A scaling
// without a type is "linear", and a factor of 1 changes nothing.
Result<> refuse_scaling(const Keys& keys) {
    HF_TRY_ASSIGN(const auto type, keys.gguf().text(keys.key("rope.scaling.type")));
    if (type && *type != "none" && *type != "linear")
        return keys.wrong("rope.scaling.type",
                          fmt::format("is \"{}\", which is not supported", type->substr(0, 64)));
    if (type == "none") return {};
    for (const std::string_view name : {"rope.scaling.factor", "rope.scale_linear"}) {
        HF_TRY_ASSIGN(const auto factor, keys.gguf().number(keys.key(name)));
        if (factor && *factor != 1.0 && *factor != 0.0)
            return keys.wrong(name, fmt::format("is {}; linear scaling is not supported", *factor));
    }
    return {};
}

Result<> read_rope(const Keys& keys, const Checkpoint& checkpoint, Config& config) {
    HF_TRY(refuse_scaling(keys));
    HF_TRY_ASSIGN(const auto theta, keys.find_number("rope.freq_base", 1.0, rope_theta_max));
    config.rope_theta = theta.value_or(10'000.0F);
    if (checkpoint.find("rope_freqs.weight") == nullptr) return {};
    HF_TRY_ASSIGN(const Tensor* const divisors,
                  checkpoint.get("rope_freqs.weight", {config.head_dim / 2}));
    const auto wrong = [&](std::string_view reason) {
        return base::fail(Code::invalid, "{}: tensor \"{}\" {}", divisors->file, divisors->name,
                          reason);
    };
    if (divisors->type != DataType::f32) return wrong("is not F32");
    config.rope_divisors.resize(config.head_dim / 2);
    std::memcpy(config.rope_divisors.data(), divisors->bytes.data(), divisors->bytes.size());
    for (const float divisor : config.rope_divisors)
        if (!(std::isfinite(divisor) && divisor > 0))
            return wrong("holds something other than finite numbers above 0");
    return {};
}

// The vocabulary's size is that of the embedding: what is written elsewhere may leave out padding.
Result<> read_vocabulary(const Checkpoint& checkpoint, const std::string& file, Config& config) {
    const Tensor* const embedding = checkpoint.find("model.embed_tokens.weight");
    if (embedding == nullptr)
        return base::fail(Code::invalid, "{}: tensor \"token_embd.weight\" is missing", file);
    if (embedding->shape.size() != 2 || embedding->shape[0] > vocab_max)
        return base::fail(Code::invalid,
                          "{}: tensor \"token_embd.weight\" has shape [{}], expected are up to {} "
                          "rows of {}",
                          file, fmt::join(embedding->shape, ", "), vocab_max, config.hidden);
    config.vocab = static_cast<std::uint32_t>(embedding->shape[0]);
    return {};
}

// End of text, and where a file names them end of turn and end of message.
Result<> read_eos(const Gguf& gguf, Config& config) {
    for (const std::string_view name : {"eos", "eot", "eom"}) {
        const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
        HF_TRY_ASSIGN(const auto id, gguf.integer(key));
        if (!id) continue;
        if (*id >= config.vocab)
            return base::fail(Code::invalid, "{}: key \"{}\" is {}, not below {}", gguf.file(), key,
                              *id, config.vocab);
        if (std::ranges::find(config.eos, static_cast<std::int32_t>(*id)) == config.eos.end())
            config.eos.push_back(static_cast<std::int32_t>(*id));
    }
    if (config.eos.empty())
        return base::fail(Code::invalid,
                          "{}: key \"tokenizer.ggml.eos_token_id\" is missing, so that no answer "
                          "would ever end",
                          gguf.file());
    return {};
}

// llama.cpp's names for the fields of generation_config.json.
Result<> read_sampling(const Gguf& gguf, SamplingDefaults& sampling) {
    const Keys keys(gguf, "general.sampling");
    HF_TRY_ASSIGN(sampling.temperature, keys.find_number("temp", 0, temperature_max));
    HF_TRY_ASSIGN(sampling.top_p, keys.find_number("top_p", top_p_min, 1));
    HF_TRY_ASSIGN(sampling.min_p, keys.find_number("min_p", 0, 1));
    HF_TRY_ASSIGN(
        sampling.repetition_penalty,
        keys.find_number("penalty_repeat", repetition_penalty_min, repetition_penalty_max));
    HF_TRY_ASSIGN(const auto top_k, keys.find_number("top_k", -1, vocab_max));
    if (top_k) sampling.top_k = static_cast<std::int32_t>(std::max(0.0F, *top_k));
    return {};
}

}  // namespace

Result<Config> read_gguf_config(const std::string& path) {
    HF_TRY_ASSIGN(const Gguf gguf, Gguf::open(path));
    HF_TRY_ASSIGN(const auto architecture, gguf.text("general.architecture"));
    if (architecture != "qwen2" && architecture != "llama")
        return base::fail(
            Code::invalid,
            "{}: key \"general.architecture\" is \"{}\", only \"qwen2\" and \"llama\" "
            "are supported",
            path, architecture.value_or("").substr(0, 64));
    HF_TRY_ASSIGN(const Checkpoint checkpoint, Checkpoint::open(path));
    Config config;
    config.architecture = *architecture;
    const Keys keys(gguf, config.architecture);
    HF_TRY(read_shape(keys, config));
    HF_TRY(read_vocabulary(checkpoint, path, config));
    HF_TRY(read_rope(keys, checkpoint, config));
    HF_TRY_ASSIGN(const auto epsilon,
                  keys.find_number("attention.layer_norm_rms_epsilon", epsilon_min, 1.0));
    if (!epsilon) return keys.wrong("attention.layer_norm_rms_epsilon", "is missing");
    config.rms_norm_epsilon = *epsilon;
    config.qkv_bias = checkpoint.find("model.layers.0.self_attn.q_proj.bias") != nullptr;
    config.tied_head = checkpoint.find("lm_head.weight") == nullptr;
    HF_TRY(read_eos(gguf, config));
    HF_TRY(read_sampling(gguf, config.sampling));
    return config;
}

}  // namespace holdfast::tensor
