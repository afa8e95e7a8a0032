#include "inference/text/beginning.h"

#include <utility>

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;
using chat::TokenId;
using Ids = std::vector<TokenId>;

constexpr std::uintmax_t config_bytes_max = 16 << 20;
constexpr std::string_view gguf_bos_key = "tokenizer.ggml.bos_token_id";

// Appends the ids of a special token of a template.
Result<> append(const JsonField& tokens, std::string_view name, const Vocabulary& vocabulary,
                Ids& ids) {
    HF_TRY_ASSIGN(const auto elements, tokens[name]["ids"].elements());
    for (const JsonField& element : elements) {
        HF_TRY_ASSIGN(const auto id, element.integer());
        if (!std::in_range<TokenId>(id) || !vocabulary.taken(static_cast<TokenId>(id)))
            return element.fail(Code::corrupt, "{} is the id of no token", id);
        ids.push_back(static_cast<TokenId>(id));
    }
    return {};
}

}  // namespace

Result<std::optional<std::string>> bos_token(const JsonField& config) {
    const JsonField field = config["bos_token"];
    if (!field.present()) return std::nullopt;
    HF_TRY_ASSIGN(const auto token, field.is_object() ? field["content"].string() : field.string());
    return std::string(token);
}

Result<std::optional<std::string>> bos_token(const tensor::Gguf& file) {
    HF_TRY_ASSIGN(const auto id, file.integer(gguf_bos_key));
    if (!id) return std::nullopt;
    HF_TRY_ASSIGN(const auto tokens, file.texts("tokenizer.ggml.tokens"));
    if (!tokens || *id >= tokens->size())
        return base::fail(Code::corrupt, "{}: {}: {} is the id of no token", file.file(),
                          gguf_bos_key, *id);
    return std::string((*tokens)[*id]);
}

Result<Ids> template_beginning(const JsonField& post_processor, const Vocabulary& vocabulary) {
    Ids ids;
    if (!post_processor.present()) return ids;
    HF_TRY_ASSIGN(const auto type, post_processor["type"].string());
    if (type == "ByteLevel") return ids;
    if (type == "Sequence") {
        HF_TRY_ASSIGN(const auto parts, post_processor["processors"].elements());
        for (const JsonField& part : parts) {
            HF_TRY_ASSIGN(const auto type_of_part, part["type"].string());
            if (type_of_part == "Sequence")
                return part.fail(Code::invalid, "a Sequence in a Sequence is not supported");
            HF_TRY_ASSIGN(const Ids own, template_beginning(part, vocabulary));
            ids.insert(ids.begin(), own.begin(), own.end());  // the last one is the outermost
        }
        return ids;
    }
    if (type != "TemplateProcessing")
        return post_processor.fail(Code::invalid,
                                   "post-processor \"{}\" is not supported; known are "
                                   "TemplateProcessing, ByteLevel and a Sequence of them",
                                   type);
    HF_TRY_ASSIGN(const auto pieces, post_processor["single"].elements());
    for (const JsonField& piece : pieces) {
        const JsonField token = piece["SpecialToken"];
        if (!token.present()) break;  // the text
        HF_TRY_ASSIGN(const auto name, token["id"].string());
        HF_TRY(append(post_processor["special_tokens"], name, vocabulary, ids));
    }
    return ids;
}

Result<Ids> folder_beginning(const std::string& folder, const Vocabulary& vocabulary,
                             Ids by_template) {
    JsonFile file;
    if (const auto opened = file.open(folder + "/tokenizer_config.json", config_bytes_max);
        !opened) {
        if (opened.error().code == Code::not_found) return by_template;
        return std::unexpected(opened.error());
    }
    const JsonField& config = file.root();
    const JsonField adds = config["add_bos_token"];
    if (!adds.present()) return by_template;
    HF_TRY_ASSIGN(const bool added, adds.boolean());
    if (!added) return Ids();
    HF_TRY_ASSIGN(const auto token, bos_token(config));
    if (!token) return by_template;
    const auto id = vocabulary.find(*token);
    if (!id)
        return config["bos_token"].fail(Code::corrupt, "\"{}\" is no token of tokenizer.json",
                                        *token);
    return Ids{*id};
}

Result<Ids> gguf_beginning(const tensor::Gguf& file, const Vocabulary& vocabulary,
                           bool adds_usually) {
    HF_TRY_ASSIGN(const auto adds, file.flag("tokenizer.ggml.add_bos_token"));
    HF_TRY_ASSIGN(const auto id, file.integer(gguf_bos_key));
    if (!adds.value_or(adds_usually) || !id) return Ids();
    if (!std::in_range<TokenId>(*id) || !vocabulary.taken(static_cast<TokenId>(*id)))
        return base::fail(Code::corrupt, "{}: {}: {} is the id of no token", file.file(),
                          gguf_bos_key, *id);
    return Ids{static_cast<TokenId>(*id)};
}

}  // namespace holdfast::text
