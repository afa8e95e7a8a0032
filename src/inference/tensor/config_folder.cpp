// The configuration of a Hugging Face folder.
#include <simdjson.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include "inference/tensor/config_checks.h"
#include "inference/tensor/file_map.h"

namespace holdfast::tensor {
namespace {

using base::Code;
namespace dom = simdjson::dom;

constexpr std::size_t config_bytes_max = 1 << 20;

// One JSON file whose fields are read by name. A null value counts as absent.
class JsonFile {
public:
    static base::Result<JsonFile> open(std::string path) {
        JsonFile file(std::move(path));
        HF_TRY_ASSIGN(const std::string text, read_text(file.path_, config_bytes_max));
        dom::element root;
        if (const auto error = file.parser_->parse(text).get(root))
            return base::fail(Code::invalid, "{}: not JSON: {}", file.path_,
                              simdjson::error_message(error));
        if (root.get(file.root_)) return base::fail(Code::invalid, "{}: not an object", file.path_);
        return file;
    }

    std::unexpected<base::Error> wrong(std::string_view field, std::string_view reason) const {
        return base::fail(Code::invalid, "{} \"{}\" {}", source(), field, reason);
    }

    // How errors begin.
    std::string source() const { return fmt::format("{}: field", path_); }

    std::optional<dom::element> find(std::string_view field) const { return find(root_, field); }
    static std::optional<dom::element> find(dom::object object, std::string_view field) {
        dom::element value;
        if (object[field].get(value) || value.is_null()) return std::nullopt;
        return value;
    }

    // An integer in [1, max].
    base::Result<std::uint32_t> count(std::string_view field, std::uint32_t max,
                                      std::optional<std::uint32_t> fallback = {}) const {
        const auto value = find(field);
        if (!value && fallback) return *fallback;
        if (!value) return wrong(field, "is missing");
        std::uint64_t number = 0;
        if (value->get(number) || number == 0 || number > max)
            return wrong(field, fmt::format("is not an integer in [1, {}]", max));
        return static_cast<std::uint32_t>(number);
    }

    // A finite number in [min, max], rounded to float32 as transformers computes with it.
    base::Result<float> number(std::optional<dom::element> value, std::string_view field,
                               double min, double max, float fallback) const {
        if (!value) return fallback;
        double number = 0;
        if (value->get(number) || !(number >= min && number <= max))
            return wrong(field, fmt::format("is not a number in [{}, {}]", min, max));
        return static_cast<float>(number);
    }

    // The same of a field that may be absent.
    base::Result<std::optional<float>> find_number(std::string_view field, double min,
                                                   double max) const {
        const auto value = find(field);
        if (!value) return std::nullopt;
        HF_TRY_ASSIGN(const float found, number(value, field, min, max, 0));
        return found;
    }

    base::Result<bool> flag(std::string_view field, bool fallback) const {
        const auto value = find(field);
        bool set = fallback;
        if (value && value->get(set)) return wrong(field, "is not true or false");
        return set;
    }

    base::Result<std::string> text(std::string_view field, std::string_view fallback) const {
        const auto value = find(field);
        if (!value) return std::string(fallback);
        std::string_view text;
        if (value->get(text)) return wrong(field, "is not a string");
        return std::string(text);
    }

private:
    explicit JsonFile(std::string path)
        : path_(std::move(path)), parser_(std::make_unique<dom::parser>()) {}

    std::string path_;
    std::unique_ptr<dom::parser> parser_;  // owns what root_ points into
    dom::object root_;
};

base::Result<> read_shape(const JsonFile& file, Config& config) {
    HF_TRY_ASSIGN(config.hidden, file.count("hidden_size", hidden_max));
    HF_TRY_ASSIGN(config.ffn, file.count("intermediate_size", ffn_max));
    HF_TRY_ASSIGN(config.layers, file.count("num_hidden_layers", layers_max));
    HF_TRY_ASSIGN(config.heads, file.count("num_attention_heads", heads_max));
    // LlamaConfig's default; Qwen2Config's fits no other model than the one it was made for.
    const bool is_llama = config.architecture == "llama";
    HF_TRY_ASSIGN(config.kv_heads,
                  file.count("num_key_value_heads", heads_max,
                             is_llama ? std::optional(config.heads) : std::nullopt));
    HF_TRY_ASSIGN(config.vocab, file.count("vocab_size", vocab_max));
    HF_TRY_ASSIGN(config.context, file.count("max_position_embeddings", context_max));
    if (!file.find("head_dim") && config.hidden % config.heads != 0)
        return file.wrong("hidden_size", fmt::format("({}) is no multiple of "
                                                     "num_attention_heads ({})",
                                                     config.hidden, config.heads));
    HF_TRY_ASSIGN(config.head_dim,
                  file.count("head_dim", head_dim_max, std::max(1U, config.hidden / config.heads)));
    return check_shape(config,
                       {.hidden = "hidden_size",
                        .ffn = "intermediate_size",
                        .heads = "num_attention_heads",
                        .kv_heads = "num_key_value_heads",
                        .head_dim = "head_dim"},
                       file.source());
}

base::Result<RopeScaling> read_llama3_scaling(const JsonFile& file, std::string_view field,
                                              dom::object parameters) {
    RopeScaling scaling;
    const auto number = [&](std::string_view key, double min, double max) {
        const auto value = JsonFile::find(parameters, key);
        const std::string where = fmt::format("{}.{}", field, key);
        return value ? file.number(value, where, min, max, 0)
                     : base::Result<float>(file.wrong(where, "is missing"));
    };
    HF_TRY_ASSIGN(scaling.factor, number("factor", 1, 1e6));
    HF_TRY_ASSIGN(scaling.low_frequency_factor, number("low_freq_factor", 1e-6, 1e6));
    HF_TRY_ASSIGN(scaling.high_frequency_factor, number("high_freq_factor", 1e-6, 1e6));
    if (scaling.high_frequency_factor <= scaling.low_frequency_factor)
        return file.wrong(field, "has a high_freq_factor that is not above low_freq_factor");
    HF_TRY_ASSIGN(const float original, number("original_max_position_embeddings", 1, context_max));
    scaling.original_context = static_cast<std::uint32_t>(original);
    return scaling;
}

// transformers 4 writes rope_theta and rope_scaling, transformers 5 rope_parameters.
base::Result<> read_rope(const JsonFile& file, Config& config) {
    auto theta = file.find("rope_theta");
    for (const std::string_view field : {"rope_scaling", "rope_parameters"}) {
        const auto value = file.find(field);
        if (!value) continue;
        dom::object parameters;
        if (value->get(parameters)) return file.wrong(field, "is not an object");
        for (const std::string_view key : {"rope_type", "type"}) {
            const auto type = JsonFile::find(parameters, key);
            if (!type) continue;
            std::string_view name;
            if (type->get(name)) return file.wrong(field, fmt::format("has no text \"{}\"", key));
            if (name == "llama3") {
                HF_TRY_ASSIGN(config.rope_scaling, read_llama3_scaling(file, field, parameters));
            } else if (name != "default") {
                return file.wrong(field, fmt::format("names the rope type \"{}\"; supported are "
                                                     "\"default\" and \"llama3\"",
                                                     name.substr(0, 64)));
            }
        }
        if (const auto inner = JsonFile::find(parameters, "rope_theta")) theta = inner;
    }
    HF_TRY_ASSIGN(config.rope_theta,
                  file.number(theta, "rope_theta", 1.0, rope_theta_max, 10'000.0F));
    return {};
}

// What this implementation of Qwen2 and Llama does not do is refused rather than ignored.
base::Result<> refuse_variants(const JsonFile& file) {
    HF_TRY_ASSIGN(const std::string activation, file.text("hidden_act", "silu"));
    if (activation != "silu") return file.wrong("hidden_act", "is not \"silu\"");
    for (const std::string_view field : {"use_sliding_window", "mlp_bias"}) {
        HF_TRY_ASSIGN(const bool set, file.flag(field, false));
        if (set) return file.wrong(field, "is true, which is not supported");
    }
    HF_TRY_ASSIGN(const float rotated, file.number(file.find("partial_rotary_factor"),
                                                   "partial_rotary_factor", 0, 1, 1.0F));
    if (rotated != 1.0F) return file.wrong("partial_rotary_factor", "is not 1");
    if (file.find("quantization_config"))
        return file.wrong("quantization_config",
                          "is set; of quantized models only GGUF files are read");
    if (const auto types = file.find("layer_types")) {
        dom::array list;
        if (types->get(list)) return file.wrong("layer_types", "is not an array");
        for (const dom::element element : list) {
            std::string_view type;
            if (element.get(type) || type != "full_attention")
                return file.wrong("layer_types", "holds something other than \"full_attention\"");
        }
    }
    return {};
}

// Qwen2 has biases on queries, keys and values whatever its configuration says. In Llama,
// attention_bias adds them, and one on the output.
base::Result<> read_bias(const JsonFile& file, Config& config) {
    config.qkv_bias = config.architecture == "qwen2";
    if (config.qkv_bias) return {};
    HF_TRY_ASSIGN(const bool set, file.flag("attention_bias", false));
    if (set)
        return file.wrong("attention_bias",
                          "is true, which adds a bias to o_proj and is not supported");
    return {};
}

// An id or a list of ids; empty when the field is absent.
base::Result<std::vector<std::int32_t>> read_eos(const JsonFile& file, std::uint32_t vocab) {
    constexpr std::string_view field = "eos_token_id";
    std::vector<std::int32_t> ids;
    const auto value = file.find(field);
    if (!value) return ids;
    const auto add = [&](dom::element element) {
        std::uint64_t id = 0;
        if (element.get(id) || id >= vocab || ids.size() == eos_ids_max) return false;
        ids.push_back(static_cast<std::int32_t>(id));
        return true;
    };
    dom::array list;
    const bool good = value->get(list) ? add(*value) : std::ranges::all_of(list, add);
    if (!good || ids.empty())
        return file.wrong(field, fmt::format("is neither a token id below {} nor a list of 1 to "
                                             "{} of them",
                                             vocab, eos_ids_max));
    return ids;
}

base::Result<> read_sampling(const JsonFile& file, SamplingDefaults& sampling) {
    HF_TRY_ASSIGN(sampling.temperature, file.find_number("temperature", 0, temperature_max));
    HF_TRY_ASSIGN(sampling.top_p, file.find_number("top_p", top_p_min, 1));
    HF_TRY_ASSIGN(sampling.min_p, file.find_number("min_p", 0, 1));
    HF_TRY_ASSIGN(
        sampling.repetition_penalty,
        file.find_number("repetition_penalty", repetition_penalty_min, repetition_penalty_max));
    if (const auto value = file.find("top_k")) {
        std::int64_t top_k = 0;
        if (value->get(top_k) || top_k < -1 || top_k > vocab_max)
            return file.wrong("top_k", fmt::format("is neither a number of tokens up to {} nor 0 "
                                                   "or -1 for all",
                                                   vocab_max));
        sampling.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(0, top_k));
    }
    return {};
}

}  // namespace

base::Result<Config> read_folder_config(const std::string& folder) {
    HF_TRY_ASSIGN(const JsonFile file, JsonFile::open(folder + "/config.json"));
    Config config;
    HF_TRY_ASSIGN(config.architecture, file.text("model_type", ""));
    if (config.architecture != "qwen2" && config.architecture != "llama")
        return file.wrong("model_type",
                          fmt::format("is \"{}\", only \"qwen2\" and \"llama\" are supported",
                                      config.architecture.substr(0, 64)));
    HF_TRY(read_shape(file, config));
    HF_TRY(read_rope(file, config));
    HF_TRY(refuse_variants(file));
    HF_TRY(read_bias(file, config));
    HF_TRY_ASSIGN(config.rms_norm_epsilon,
                  file.number(file.find("rms_norm_eps"), "rms_norm_eps", epsilon_min, 1.0, 1e-6F));
    HF_TRY_ASSIGN(config.tied_head, file.flag("tie_word_embeddings", false));

    auto generation = JsonFile::open(folder + "/generation_config.json");
    if (!generation && generation.error().code != Code::not_found)
        return std::unexpected(generation.error());
    if (generation) {
        HF_TRY_ASSIGN(config.eos, read_eos(*generation, config.vocab));
        HF_TRY(read_sampling(*generation, config.sampling));
    }
    if (config.eos.empty()) {
        HF_TRY_ASSIGN(config.eos, read_eos(file, config.vocab));
    }
    if (config.eos.empty())
        return file.wrong("eos_token_id",
                          "is missing here and in generation_config.json, so that "
                          "no answer would ever end");
    return config;
}

}  // namespace holdfast::tensor
