#include <algorithm>
#include <array>

#include "inference/text/beginning.h"
#include "inference/text/byte_alphabet.h"
#include "inference/text/spellings.h"
#include "inference/text/tokenizer_file.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;
using chat::TokenId;

// tokenizer.ggml.token_type
enum TokenType : std::int64_t {
    normal = 1,
    unknown = 2,
    control = 3,
    user_defined = 4,
    unused = 5,
    byte = 6,
};

enum class Family : std::uint8_t { qwen2, llama3 };
struct Splitter {
    std::string_view name;
    Family family;
};
// tokenizer.ggml.pre
constexpr std::array splitters{
    Splitter{"qwen2", Family::qwen2},      Splitter{"deepseek-r1-qwen", Family::qwen2},
    Splitter{"llama-bpe", Family::llama3}, Splitter{"llama3", Family::llama3},
    Splitter{"llama-v3", Family::llama3},
};

// One reading of one file.
class Reader {
public:
    Reader(const tensor::Gguf& gguf, TokenId vocab_rows) : gguf_(gguf), vocab_rows_(vocab_rows) {}

    Result<TokenizerFile> read() {
        HF_TRY(read_model());
        HF_TRY(read_splitter());
        HF_TRY(read_special_ids());
        HF_TRY(read_tokens());
        HF_TRY_ASSIGN(file_.bytes, located(tokens_key, spellings_.byte_tokens()));
        HF_TRY(read_merges());
        spellings_.index(file_.vocabulary);
        HF_TRY_ASSIGN(file_.beginning, gguf_beginning(gguf_, file_.vocabulary, adds_bos_));
        return std::move(file_);
    }

private:
    static constexpr std::string_view model_key = "tokenizer.ggml.model";
    static constexpr std::string_view splitter_key = "tokenizer.ggml.pre";
    static constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
    static constexpr std::string_view types_key = "tokenizer.ggml.token_type";
    static constexpr std::string_view merges_key = "tokenizer.ggml.merges";

    template <class... Args>
    std::unexpected<base::Error> fail(Code code, std::string_view key,
                                      fmt::format_string<Args...> format, Args&&... args) const {
        return base::fail(code, "{}: {}: {}", gguf_.file(), key,
                          fmt::format(format, std::forward<Args>(args)...));
    }
    template <class T>
    Result<T> located(std::string_view key, Result<T> result) const {
        if (result) return result;
        return fail(result.error().code, key, "{}", result.error().what);
    }
    // A value that must be there.
    template <class T>
    Result<T> present(std::string_view key, Result<std::optional<T>> value) const {
        if (!value) return std::unexpected(std::move(value).error());
        if (!*value) return fail(Code::corrupt, key, "is missing");
        return **std::move(value);
    }

    Result<> read_model();
    Result<> read_splitter();
    Result<> read_special_ids();
    Result<> read_tokens();
    Result<> read_token(TokenId id, std::string_view spelling, std::int64_t type);
    Result<> read_normal(TokenId id, std::string_view spelling);
    void add(TokenId id, std::string content, bool is_special);
    Result<> read_merges();

    const tensor::Gguf& gguf_;
    TokenId vocab_rows_;
    TokenizerFile file_;
    Spellings spellings_;  // point into the file
    std::vector<std::uint64_t> special_ids_;
    bool adds_bos_ = false;  // where the file does not say it
};

Result<> Reader::read_model() {
    HF_TRY_ASSIGN(const auto model, present(model_key, gguf_.text(model_key)));
    if (model == "gpt2") return {};
    return fail(Code::invalid, model_key, "\"{}\" is not supported; only gpt2 (byte-level BPE) is",
                model);
}

Result<> Reader::read_splitter() {
    HF_TRY_ASSIGN(const auto name, present(splitter_key, gguf_.text(splitter_key)));
    const auto known = std::ranges::find(splitters, name, &Splitter::name);
    if (known == splitters.end())
        return fail(Code::invalid, splitter_key,
                    "\"{}\" is not supported; known are qwen2, deepseek-r1-qwen, llama-bpe and "
                    "llama3",
                    name);
    if (known->family == Family::qwen2) {
        file_.splitter = WordSplitter::qwen2();
        file_.normalizer.emplace();
    } else {
        file_.splitter = WordSplitter::llama3();
        file_.ignores_merges = true;
        adds_bos_ = true;
    }
    return {};
}

Result<> Reader::read_special_ids() {
    for (const std::string_view key :
         {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
          "tokenizer.ggml.padding_token_id", "tokenizer.ggml.unknown_token_id"}) {
        HF_TRY_ASSIGN(const auto id, gguf_.integer(key));
        if (id) special_ids_.push_back(*id);
    }
    return {};
}

Result<> Reader::read_tokens() {
    HF_TRY_ASSIGN(const auto tokens, present(tokens_key, gguf_.texts(tokens_key)));
    HF_TRY_ASSIGN(const auto types, present(types_key, gguf_.integers(types_key)));
    if (types.size() != tokens.size())
        return fail(Code::corrupt, types_key, "has {} elements for {} tokens", types.size(),
                    tokens.size());
    if (std::cmp_greater(tokens.size(), vocab_rows_))
        return fail(Code::corrupt, tokens_key, "{} tokens are more than the model's {} rows",
                    tokens.size(), vocab_rows_);
    for (std::size_t id = 0; id < tokens.size(); ++id)
        HF_TRY(read_token(static_cast<TokenId>(id), tokens[id], types[id]));
    return {};
}

// Rows that only make the number of rows round. Older converters call them user-defined.
bool is_padding(TokenId id, std::string_view spelling) {
    return spelling == fmt::format("[PAD{}]", id);
}

bool is_deepseek_mark(std::string_view spelling) {
    return spelling.starts_with("<｜") && spelling.ends_with("｜>");
}

Result<> Reader::read_token(TokenId id, std::string_view spelling, std::int64_t type) {
    if (type == unused || (type == user_defined && is_padding(id, spelling))) return {};
    if (spelling.empty()) return fail(Code::corrupt, tokens_key, "the token of id {} is empty", id);
    std::string content(spelling);
    switch (type) {
        case normal:
            return read_normal(id, spelling);
        case unknown:
        case control: {
            // Converters take whatever looks like a mark for special. In R1's tokenizers only those
            // with an office are, and the marks of roles and tools show in a text.
            const bool has_office =
                std::ranges::find(special_ids_, static_cast<std::uint64_t>(id)) !=
                special_ids_.end();
            add(id, std::move(content), has_office || !is_deepseek_mark(spelling));
            return {};
        }
        case user_defined:
            // Converters write the low line of R1's marks as a space here.
            if (is_deepseek_mark(spelling))
                for (std::size_t at = 0; (at = content.find(' ', at)) != std::string::npos;)
                    content.replace(at, 1, "▁");
            // A token that merging makes may be looked for in the text as well.
            spellings_.add(spelling, id);
            add(id, std::move(content), false);
            return {};
        default:
            return fail(Code::invalid, types_key, "type {} of token \"{}\" is not supported", type,
                        spelling);
    }
}

Result<> Reader::read_normal(TokenId id, std::string_view spelling) {
    if (!spellings_.add(spelling, id))
        return fail(Code::corrupt, tokens_key, "token \"{}\" is listed twice", spelling);
    file_.vocabulary.hold(id, bytes_of_spelling(spelling).value_or(std::string(spelling)));
    return {};
}

void Reader::add(TokenId id, std::string content, bool is_special) {
    file_.added.add(content, id);
    file_.vocabulary.added.emplace(content, id);
    file_.vocabulary.hold(id, bytes_of_spelling(content).value_or(content));
    file_.vocabulary.special[static_cast<std::size_t>(id)] = is_special;
}

Result<> Reader::read_merges() {
    HF_TRY_ASSIGN(const auto merges, present(merges_key, gguf_.texts(merges_key)));
    file_.merges.reserve(merges.size());
    for (const std::string_view both : merges) {
        HF_TRY_ASSIGN(const Merge merge, located(merges_key, spellings_.merge(both)));
        file_.merges.push_back(merge);
    }
    return {};
}

}  // namespace

Result<TokenizerFile> read_gguf_tokenizer(const tensor::Gguf& file, TokenId vocab_rows) {
    return Reader(file, vocab_rows).read();
}

}  // namespace holdfast::text
