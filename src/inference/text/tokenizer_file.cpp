#include "inference/text/tokenizer_file.h"

#include <algorithm>
#include <optional>
#include <set>

#include "inference/text/beginning.h"
#include "inference/text/byte_alphabet.h"
#include "inference/text/json_file.h"
#include "inference/text/spellings.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;
using chat::TokenId;

constexpr std::uintmax_t file_bytes_max = 256 << 20;

// The value, or its error at this field.
template <class T>
Result<T> located(const JsonField& field, Result<T> result) {
    if (result) return result;
    return field.fail(result.error().code, "{}", result.error().what);
}

// One reading of one file.
class Reader {
public:
    Reader(const JsonField& root, TokenId vocab_rows) : root_(root), vocab_rows_(vocab_rows) {}

    Result<TokenizerFile> read() {
        HF_TRY(read_normalizer(root_["normalizer"]));
        HF_TRY(read_pre_tokenizer(root_["pre_tokenizer"]));
        HF_TRY(read_decoder(root_["decoder"]));
        HF_TRY(read_model(root_["model"]));
        HF_TRY(read_added_tokens(root_["added_tokens"]));
        spellings_.index(file_.vocabulary);
        HF_TRY_ASSIGN(file_.beginning,
                      template_beginning(root_["post_processor"], file_.vocabulary));
        return std::move(file_);
    }

private:
    Result<> read_normalizer(const JsonField& field);
    Result<> read_pre_tokenizer(const JsonField& field);
    Result<> read_split(const JsonField& field);
    Result<> read_byte_level(const JsonField& field);
    Result<> read_decoder(const JsonField& field);
    Result<> read_model(const JsonField& field);
    Result<> refuse_model_options(const JsonField& field);
    Result<> read_vocabulary(const JsonField& field);
    Result<> read_merges(const JsonField& field);
    Result<Merge> read_merge(const JsonField& field);
    Result<> read_added_tokens(const JsonField& field);
    Result<> read_added_token(const JsonField& field);
    Result<TokenId> check_id(const JsonField& field, std::int64_t id, std::string_view token);

    JsonField root_;
    TokenId vocab_rows_;
    TokenizerFile file_;
    bool byte_level_ = false;
    Spellings spellings_;  // point into the JSON
    std::set<TokenId> added_;
};

// The parts of a Sequence, or the field alone.
Result<std::vector<JsonField>> parts_of(const JsonField& field, std::string_view members) {
    HF_TRY_ASSIGN(const auto type, field["type"].string());
    if (type != "Sequence") return std::vector{field};
    return field[members].elements();
}

Result<> Reader::read_normalizer(const JsonField& field) {
    if (!field.present()) return {};
    HF_TRY_ASSIGN(const auto parts, parts_of(field, "normalizers"));
    for (const JsonField& part : parts) {
        HF_TRY_ASSIGN(const auto type, part["type"].string());
        if (type != "NFC")
            return part.fail(Code::invalid, "normalizer \"{}\" is not supported; only NFC is",
                             type);
        file_.normalizer.emplace();
    }
    return {};
}

Result<> Reader::read_pre_tokenizer(const JsonField& field) {
    HF_TRY_ASSIGN(const auto parts, parts_of(field, "pretokenizers"));
    for (const JsonField& part : parts) {
        HF_TRY_ASSIGN(const auto type, part["type"].string());
        if (type == "Split" && !file_.splitter && !byte_level_) {
            HF_TRY(read_split(part));
        } else if (type == "ByteLevel" && !byte_level_) {
            HF_TRY(read_byte_level(part));
        } else {
            return part.fail(Code::invalid,
                             "pre-tokenizer \"{}\" is not supported here; expected are one Split, "
                             "then one ByteLevel",
                             type);
        }
    }
    if (!file_.splitter || !byte_level_)
        return field.fail(Code::invalid, "lacks {}; expected are one Split, then one ByteLevel",
                          byte_level_ ? "Split" : "ByteLevel");
    return {};
}

Result<> Reader::read_split(const JsonField& field) {
    const JsonField pattern = field["pattern"]["Regex"];
    HF_TRY_ASSIGN(const auto regex, pattern.string());
    const auto splitter = WordSplitter::for_pattern(regex);
    if (!splitter)
        return pattern.fail(Code::invalid,
                            "the pattern {} is unknown; known are those of Qwen2 and Llama 3",
                            regex);
    HF_TRY_ASSIGN(const auto behavior, field["behavior"].string());
    HF_TRY_ASSIGN(const auto invert, field["invert"].boolean_or(false));
    if (behavior != "Isolated" || invert)
        return field.fail(Code::invalid, "only behavior \"Isolated\" without invert is supported");
    file_.splitter = splitter;
    return {};
}

Result<> Reader::read_byte_level(const JsonField& field) {
    HF_TRY_ASSIGN(const auto prefix_space, field["add_prefix_space"].boolean());
    HF_TRY_ASSIGN(const auto use_regex, field["use_regex"].boolean_or(true));
    if (prefix_space || use_regex)
        return field.fail(Code::invalid, "{} is not supported",
                          prefix_space ? "add_prefix_space" : "use_regex");
    byte_level_ = true;
    return {};
}

Result<> Reader::read_decoder(const JsonField& field) {
    HF_TRY_ASSIGN(const auto type, field["type"].string());
    if (type != "ByteLevel")
        return field.fail(Code::invalid, "decoder \"{}\" is not supported; only ByteLevel is",
                          type);
    return {};
}

Result<> Reader::read_model(const JsonField& field) {
    HF_TRY(refuse_model_options(field));
    HF_TRY_ASSIGN(file_.ignores_merges, field["ignore_merges"].boolean_or(false));
    HF_TRY(read_vocabulary(field["vocab"]));
    HF_TRY_ASSIGN(file_.bytes, located(field["vocab"], spellings_.byte_tokens()));
    return read_merges(field["merges"]);
}

Result<> Reader::refuse_model_options(const JsonField& field) {
    // Files of older versions do not name the type.
    if (field["type"].present()) {
        HF_TRY_ASSIGN(const auto type, field["type"].string());
        if (type != "BPE")
            return field.fail(Code::invalid, "model \"{}\" is not supported; only BPE is", type);
    }
    for (const std::string_view name : {"dropout", "unk_token"})
        if (field[name].present()) return field[name].fail(Code::invalid, "is not supported");
    for (const std::string_view name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
        if (!field[name].present()) continue;
        HF_TRY_ASSIGN(const auto affix, field[name].string());
        if (!affix.empty()) return field[name].fail(Code::invalid, "is not supported");
    }
    HF_TRY_ASSIGN(const auto byte_fallback, field["byte_fallback"].boolean_or(false));
    if (byte_fallback) return field["byte_fallback"].fail(Code::invalid, "is not supported");
    return {};
}

Result<TokenId> Reader::check_id(const JsonField& field, std::int64_t id, std::string_view token) {
    if (id < 0 || id >= vocab_rows_)
        return field.fail(Code::corrupt, "id {} of token \"{}\" is outside of the model's {} rows",
                          id, token, vocab_rows_);
    return static_cast<TokenId>(id);
}

Result<> Reader::read_vocabulary(const JsonField& field) {
    HF_TRY_ASSIGN(const auto tokens, field.object());
    for (const auto [spelling, value] : tokens) {
        std::int64_t number = 0;
        if (value.get(number))
            return field.fail(Code::corrupt, "the id of token \"{}\" is not an integer", spelling);
        HF_TRY_ASSIGN(const TokenId id, check_id(field, number, spelling));
        if (spelling.empty()) return field.fail(Code::corrupt, "the token of id {} is empty", id);
        if (file_.vocabulary.taken(id))
            return field.fail(Code::corrupt, "id {} is given twice, the second time to \"{}\"", id,
                              spelling);
        if (!spellings_.add(spelling, id))
            return field.fail(Code::corrupt, "token \"{}\" is listed twice", spelling);
        // Special tokens may be listed here as well; they are written as they are.
        file_.vocabulary.hold(id, bytes_of_spelling(spelling).value_or(std::string(spelling)));
    }
    return {};
}

// "left right", or since 2024 ["left", "right"].
Result<Merge> Reader::read_merge(const JsonField& field) {
    if (!field.is_array()) {
        HF_TRY_ASSIGN(const auto both, field.string());
        return located(field, spellings_.merge(both));
    }
    HF_TRY_ASSIGN(const auto parts, field.elements());
    if (parts.size() != 2) return field.fail(Code::corrupt, "is not a pair of tokens");
    HF_TRY_ASSIGN(const auto left, parts[0].string());
    HF_TRY_ASSIGN(const auto right, parts[1].string());
    return located(field, spellings_.merge(left, right));
}

Result<> Reader::read_merges(const JsonField& field) {
    HF_TRY_ASSIGN(const auto merges, field.array());
    std::size_t index = 0;
    for (const simdjson::dom::element value : merges) {
        HF_TRY_ASSIGN(const Merge merge, read_merge(field.element(index++, value)));
        file_.merges.push_back(merge);
    }
    return {};
}

Result<> Reader::read_added_tokens(const JsonField& field) {
    if (!field.present()) return {};
    HF_TRY_ASSIGN(const auto tokens, field.elements());
    for (const JsonField& token : tokens) HF_TRY(read_added_token(token));
    return {};
}

Result<> Reader::read_added_token(const JsonField& field) {
    HF_TRY_ASSIGN(const auto content, field["content"].string());
    HF_TRY_ASSIGN(const auto number, field["id"].integer());
    HF_TRY_ASSIGN(const auto special, field["special"].boolean());
    HF_TRY_ASSIGN(const auto normalized, field["normalized"].boolean_or(!special));
    for (const std::string_view name : {"single_word", "lstrip", "rstrip"}) {
        HF_TRY_ASSIGN(const auto set, field[name].boolean_or(false));
        if (set) return field[name].fail(Code::invalid, "is not supported");
    }
    if (content.empty()) return field["content"].fail(Code::corrupt, "is empty");
    HF_TRY_ASSIGN(const TokenId id, check_id(field["id"], number, content));
    const auto in_model = spellings_.find(content);
    if (in_model && *in_model != id)
        return field["id"].fail(Code::corrupt, "token \"{}\" has id {} here and {} in model.vocab",
                                content, id, *in_model);
    if (file_.vocabulary.taken(id) && (!in_model || added_.contains(id)))
        return field["id"].fail(Code::corrupt, "id {} is given twice, the second time to \"{}\"",
                                id, content);

    file_.vocabulary.hold(id, bytes_of_spelling(content).value_or(std::string(content)));
    added_.insert(id);
    file_.vocabulary.added.emplace(content, id);
    file_.vocabulary.special[id] = special;
    if (!normalized) {
        file_.added.add(content, id);
    } else {
        std::string buffer;
        file_.added_normalized.add(
            file_.normalizer ? file_.normalizer->normalize(content, buffer) : content, id);
    }
    return {};
}

}  // namespace

Result<TokenizerFile> read_tokenizer_file(const std::string& path, TokenId vocab_rows) {
    JsonFile json;
    HF_TRY(json.open(path, file_bytes_max));
    return Reader(json.root(), vocab_rows).read();
}

}  // namespace holdfast::text
