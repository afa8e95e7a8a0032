#include "tools/convert/tokenizer_metadata.h"

#include <simdjson.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "inference/tensor/file_map.h"

namespace holdfast::convert {
namespace {

using base::Code;
using base::Result;
namespace dom = simdjson::dom;

constexpr std::size_t tokenizer_bytes_max = 256 << 20;
constexpr std::size_t config_bytes_max = 16 << 20;
constexpr std::size_t template_bytes_max = 1 << 20;

// What splits text into words before merging: the two patterns and llama.cpp's names for them
// (llama.cpp, src/llama-vocab.cpp). They differ in how many digits make a word.
constexpr std::string_view qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// What only the vocabulary of DeepSeek-R1's distills has.
constexpr std::string_view r1_token = "<｜begin▁of▁sentence｜>";

// GGUF's kinds of tokens.
enum class TokenType : std::int32_t { normal = 1, control = 3, user_defined = 4, unused = 5 };

struct JsonFile {
    std::string path;
    dom::parser parser;
    dom::element root;

    Result<> open(std::string file, std::size_t bytes_max) {
        path = std::move(file);
        HF_TRY_ASSIGN(const std::string text, tensor::read_text(path, bytes_max));
        if (const auto error = parser.parse(text).get(root))
            return base::fail(Code::invalid, "{}: not JSON: {}", path,
                              simdjson::error_message(error));
        return {};
    }

    std::unexpected<base::Error> wrong(std::string_view field, std::string_view reason) const {
        return base::fail(Code::invalid, "{}: field \"{}\" {}", path, field, reason);
    }
};

// The text of a token as tokenizer_config.json writes it: alone, or as an object's content.
std::optional<std::string_view> token_text(dom::element value) {
    std::string_view text;
    if (!value.get(text) || !value["content"].get(text)) return text;
    return std::nullopt;
}

// Tokens that only the template writes. Their names tell, as not all files mark them as special:
// what a user types must not become one of them.
bool looks_like_control(std::string_view text) {
    return (text.starts_with("<|") && text.ends_with("|>")) ||
           (text.starts_with("<｜") && text.ends_with("｜>"));
}

class Converter {
public:
    Converter(const std::string& folder, const tensor::Config& config,
              tensor::GgufMetadata& metadata)
        : folder_(folder), config_(config), metadata_(metadata) {}

    Result<> add() {
        HF_TRY(file_.open(folder_ + "/tokenizer.json", tokenizer_bytes_max));
        HF_TRY(options_.open(folder_ + "/tokenizer_config.json", config_bytes_max));
        HF_TRY(read_vocabulary());
        HF_TRY(read_added_tokens());
        HF_TRY_ASSIGN(const std::string_view splitter, splitter_name());
        metadata_.text("tokenizer.ggml.model", "gpt2");
        metadata_.text("tokenizer.ggml.pre", splitter);
        add_tokens();
        HF_TRY(add_merges());
        HF_TRY(add_special_tokens());
        return add_template();
    }

private:
    Result<> put(std::string_view text, std::uint64_t id, TokenType type, std::string_view field) {
        if (id >= config_.vocab)
            return file_.wrong(field, fmt::format("gives \"{}\" the id {}, but the model has {} "
                                                  "rows",
                                                  text.substr(0, 64), id, config_.vocab));
        // Some files list an added token in the vocabulary, too.
        std::string& place = tokens_[id];
        if (!place.empty() && (place != text || type == TokenType::normal))
            return file_.wrong(field, fmt::format("gives the id {} twice", id));
        place = text;
        types_[id] = static_cast<std::int32_t>(type);
        ids_.emplace(place, static_cast<std::uint32_t>(id));
        return {};
    }

    Result<> read_vocabulary() {
        tokens_.resize(config_.vocab);
        types_.resize(config_.vocab, static_cast<std::int32_t>(TokenType::unused));
        std::string_view type;
        if (!file_.root["model"]["type"].get(type) && type != "BPE")
            return file_.wrong("model.type", "is not \"BPE\"");
        dom::object vocabulary;
        if (file_.root["model"]["vocab"].get(vocabulary))
            return file_.wrong("model.vocab", "is missing");
        for (const auto [text, value] : vocabulary) {
            std::uint64_t id = 0;
            if (value.get(id) || text.empty())
                return file_.wrong("model.vocab", "holds something other than texts with ids");
            HF_TRY(put(text, id, TokenType::normal, "model.vocab"));
        }
        return {};
    }

    Result<> read_added_tokens() {
        dom::array added;
        if (file_.root["added_tokens"].get(added)) return {};
        for (const dom::element token : added) {
            std::string_view text;
            std::uint64_t id = 0;
            bool special = false;
            if (token["content"].get(text) || token["id"].get(id) ||
                token["special"].get(special) || text.empty())
                return file_.wrong("added_tokens", "holds one without content, id or special");
            const bool control = special || looks_like_control(text);
            HF_TRY(put(text, id, control ? TokenType::control : TokenType::user_defined,
                       "added_tokens"));
        }
        return {};
    }

    // The pattern, alone or as the first part of a sequence.
    Result<std::string_view> splitter_name() const {
        constexpr std::string_view field = "pre_tokenizer";
        dom::element split = file_.root;
        std::string_view pattern;
        if (file_.root[field]["pretokenizers"].at(0).get(split) && file_.root[field].get(split))
            return file_.wrong(field, "is missing");
        if (split["pattern"]["Regex"].get(pattern)) return file_.wrong(field, "has no pattern");
        if (pattern == llama3_pattern) return "llama-bpe";
        if (pattern == qwen2_pattern)
            return ids_.contains(std::string(r1_token)) ? "deepseek-r1-qwen" : "qwen2";
        return file_.wrong(field, fmt::format("has the unknown pattern {}; known are those of "
                                              "Qwen2 and Llama 3",
                                              pattern.substr(0, 200)));
    }

    // Rows without a token are padding; each needs a text of its own.
    void add_tokens() {
        for (std::size_t id = 0; id < tokens_.size(); ++id)
            if (tokens_[id].empty()) tokens_[id] = fmt::format("[PAD{}]", id);
        metadata_.texts("tokenizer.ggml.tokens", tokens_);
        metadata_.integers("tokenizer.ggml.token_type", types_);
    }

    // "a b", which newer files write as ["a", "b"].
    Result<> add_merges() {
        dom::array list;
        if (file_.root["model"]["merges"].get(list))
            return file_.wrong("model.merges", "is not an array");
        std::vector<std::string> merges;
        for (const dom::element element : list) {
            std::string_view whole, left, right;
            if (element.get(whole)) {
                if (element.at(0).get(left) || element.at(1).get(right))
                    return file_.wrong("model.merges", "holds something other than pairs");
                merges.push_back(fmt::format("{} {}", left, right));
            } else {
                merges.emplace_back(whole);
            }
        }
        metadata_.texts("tokenizer.ggml.merges", merges);
        return {};
    }

    Result<std::optional<std::uint32_t>> special_token(std::string_view field) const {
        dom::element value;
        if (options_.root[field].get(value) || value.is_null()) return std::nullopt;
        const auto text = token_text(value);
        const auto found = text ? ids_.find(std::string(*text)) : ids_.end();
        if (found == ids_.end()) return options_.wrong(field, "is no token of tokenizer.json");
        return found->second;
    }

    Result<> add_special_tokens() {
        HF_TRY_ASSIGN(const auto bos, special_token("bos_token"));
        HF_TRY_ASSIGN(const auto padding, special_token("pad_token"));
        if (bos) metadata_.integer("tokenizer.ggml.bos_token_id", *bos);
        if (padding) metadata_.integer("tokenizer.ggml.padding_token_id", *padding);
        // GGUF has three names for what ends an answer.
        constexpr std::string_view ends[] = {"eos", "eot", "eom"};
        if (config_.eos.size() > std::size(ends))
            return base::fail(Code::invalid,
                              "{}: {} token ids end an answer, a GGUF file names at most {}",
                              folder_, config_.eos.size(), std::size(ends));
        for (std::size_t i = 0; i < config_.eos.size(); ++i)
            metadata_.integer(fmt::format("tokenizer.ggml.{}_token_id", ends[i]),
                              static_cast<std::uint32_t>(config_.eos[i]));
        metadata_.flag("tokenizer.ggml.add_bos_token", adds_bos());
        metadata_.flag("tokenizer.ggml.add_eos_token", false);
        return {};
    }

    // Where the configuration does not say it, the template of the post-processor does.
    bool adds_bos() const {
        bool adds = false;
        if (!options_.root["add_bos_token"].get(adds)) return adds;
        std::vector<dom::element> steps;
        dom::array sequence;
        if (!file_.root["post_processor"]["processors"].get(sequence))
            steps.assign(sequence.begin(), sequence.end());
        else if (dom::element step; !file_.root["post_processor"].get(step))
            steps.push_back(step);
        return std::ranges::any_of(steps, [](dom::element step) {
            dom::element first;
            return !step["single"].at(0)["SpecialToken"].get(first);
        });
    }

    // A file of its own wins over the field, as in transformers; of several templates the one named
    // "default" counts.
    Result<> add_template() {
        const auto own = tensor::read_text(folder_ + "/chat_template.jinja", template_bytes_max);
        if (!own && own.error().code != Code::not_found) return std::unexpected(own.error());
        std::string_view text;
        if (own) {
            text = *own;
        } else if (dom::array several; !options_.root["chat_template"].get(several)) {
            for (const dom::element one : several) {
                std::string_view name;
                if (!one["name"].get(name) && name == "default" && one["template"].get(text))
                    return options_.wrong("chat_template", "has a default that is no text");
            }
        } else if (dom::element value; !options_.root["chat_template"].get(value)) {
            if (!value.is_null() && value.get(text))
                return options_.wrong("chat_template", "is not a text");
        }
        if (!text.empty()) metadata_.text("tokenizer.chat_template", text);
        return {};
    }

    const std::string& folder_;
    const tensor::Config& config_;
    tensor::GgufMetadata& metadata_;
    JsonFile file_, options_;
    std::vector<std::string> tokens_;
    std::vector<std::int32_t> types_;
    std::unordered_map<std::string, std::uint32_t> ids_;
};

}  // namespace

Result<> add_tokenizer(const std::string& folder, const tensor::Config& config,
                       tensor::GgufMetadata& metadata) {
    return Converter(folder, config, metadata).add();
}

}  // namespace holdfast::convert
