#include "tensor/config.h"

#include <simdjson.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>

#include "tensor/file_map.h"

namespace holdfast::tensor {
namespace {

using base::Code;
namespace dom = simdjson::dom;

constexpr std::size_t config_bytes_max = 1 << 20;
constexpr std::size_t eos_ids_max = 64;

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
        return base::fail(Code::invalid, "{}: field \"{}\" {}", path_, field, reason);
    }

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
    HF_TRY_ASSIGN(config.hidden, file.count("hidden_size", 1 << 16));
    HF_TRY_ASSIGN(config.ffn, file.count("intermediate_size", 1 << 18));
    HF_TRY_ASSIGN(config.layers, file.count("num_hidden_layers", 1'024));
    HF_TRY_ASSIGN(config.heads, file.count("num_attention_heads", 1'024));
    HF_TRY_ASSIGN(config.kv_heads, file.count("num_key_value_heads", 1'024));
    HF_TRY_ASSIGN(config.vocab, file.count("vocab_size", 1 << 20));
    HF_TRY_ASSIGN(config.context, file.count("max_position_embeddings", 1 << 20));
    if (config.heads % config.kv_heads != 0)
        return file.wrong("num_attention_heads", fmt::format("({}) is no multiple of "
                                                             "num_key_value_heads ({})",
                                                             config.heads, config.kv_heads));
    if (!file.find("head_dim") && config.hidden % config.heads != 0)
        return file.wrong("hidden_size", fmt::format("({}) is no multiple of "
                                                     "num_attention_heads ({})",
                                                     config.hidden, config.heads));
    HF_TRY_ASSIGN(config.head_dim,
                  file.count("head_dim", 256, std::max(1U, config.hidden / config.heads)));
    if (config.head_dim % 32 != 0 || config.head_dim > 256)
        return file.wrong("head_dim", fmt::format("({}, or hidden_size / num_attention_heads) is "
                                                  "no multiple of 32 up to 256",
                                                  config.head_dim));
    if (config.hidden % 16 != 0) return file.wrong("hidden_size", "is no multiple of 16");
    if (config.ffn % 16 != 0) return file.wrong("intermediate_size", "is no multiple of 16");
    return {};
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
            std::string_view name;
            if (type && (type->get(name) || name != "default"))
                return file.wrong(field,
                                  "names a rope type other than \"default\", which is not "
                                  "supported");
        }
        if (const auto inner = JsonFile::find(parameters, "rope_theta")) theta = inner;
    }
    HF_TRY_ASSIGN(config.rope_theta, file.number(theta, "rope_theta", 1.0, 1e12, 10'000.0F));
    return {};
}

// What this implementation of Qwen2 does not do is refused rather than ignored.
base::Result<> refuse_variants(const JsonFile& file) {
    HF_TRY_ASSIGN(const std::string activation, file.text("hidden_act", "silu"));
    if (activation != "silu") return file.wrong("hidden_act", "is not \"silu\"");
    HF_TRY_ASSIGN(const bool sliding, file.flag("use_sliding_window", false));
    if (sliding) return file.wrong("use_sliding_window", "is true, which is not supported");
    if (file.find("quantization_config"))
        return file.wrong("quantization_config", "is set; quantized checkpoints are not supported");
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

}  // namespace

base::Result<Config> read_config(const std::string& folder) {
    HF_TRY_ASSIGN(const JsonFile file, JsonFile::open(folder + "/config.json"));
    Config config;
    HF_TRY_ASSIGN(config.architecture, file.text("model_type", ""));
    if (config.architecture != "qwen2")
        return file.wrong("model_type", fmt::format("is \"{}\", only \"qwen2\" is supported",
                                                    config.architecture.substr(0, 64)));
    HF_TRY(read_shape(file, config));
    HF_TRY(read_rope(file, config));
    HF_TRY(refuse_variants(file));
    HF_TRY_ASSIGN(config.rms_norm_epsilon,
                  file.number(file.find("rms_norm_eps"), "rms_norm_eps", 1e-12, 1.0, 1e-6F));
    HF_TRY_ASSIGN(config.tied_head, file.flag("tie_word_embeddings", false));

    auto generation = JsonFile::open(folder + "/generation_config.json");
    if (!generation && generation.error().code != Code::not_found)
        return std::unexpected(generation.error());
    if (generation) {
        HF_TRY_ASSIGN(config.eos, read_eos(*generation, config.vocab));
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
