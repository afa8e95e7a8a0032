#include "inference/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "inference/text/beginning.h"
#include "inference/text/byte_alphabet.h"
#include "inference/text/normalizer.h"
#include "inference/text/tokenizer_file.h"

namespace holdfast::text {
namespace {

class ByteLevelTokenizer final : public Tokenizer {
public:
    explicit ByteLevelTokenizer(TokenizerFile file);

    std::vector<TokenId> encode(std::string_view text) const override;
    std::string_view bytes(TokenId id) const override {
        return vocabulary_.holds(id) ? vocabulary_.bytes[id] : std::string_view();
    }
    std::string spelling(TokenId id) const override;
    bool is_special(TokenId id) const override {
        return vocabulary_.holds(id) && vocabulary_.special[id];
    }
    bool exists(TokenId id) const override { return !bytes(id).empty(); }
    std::optional<TokenId> find(std::string_view token) const override {
        return vocabulary_.find(token);
    }
    TokenId size() const override { return static_cast<TokenId>(vocabulary_.bytes.size()); }
    std::span<const TokenId> beginning() const override { return beginning_; }

private:
    // One call of encode.
    struct Encoding {
        std::vector<TokenId> ids;
        std::string normalized;
        Bpe::Scratch scratch;
    };
    void encode_raw(std::string_view text, Encoding& encoding) const;
    void encode_normalized(std::string_view text, Encoding& encoding) const;
    void encode_word(std::string_view word, Encoding& encoding) const;
    void find_whole_words(bool ignores_merges);

    Vocabulary vocabulary_;
    AddedTokens added_, added_normalized_;
    std::optional<Normalizer> normalizer_;
    WordSplitter splitter_;
    Bpe bpe_;
    std::vector<TokenId> beginning_;
    // Words that become one token, found without merging: what merging gives for them was tried
    // once, at load.
    TokenIndex whole_words_;
};

ByteLevelTokenizer::ByteLevelTokenizer(TokenizerFile file)
    : vocabulary_(std::move(file.vocabulary)),
      added_(std::move(file.added)),
      added_normalized_(std::move(file.added_normalized)),
      normalizer_(std::move(file.normalizer)),
      splitter_(*file.splitter),
      bpe_(file.bytes, file.merges),
      beginning_(std::move(file.beginning)) {
    find_whole_words(file.ignores_merges);
}

std::string ByteLevelTokenizer::spelling(TokenId id) const {
    const std::string_view text = bytes(id);
    const auto added = vocabulary_.added.find(text);
    if (added != vocabulary_.added.end() && added->second == id) return added->first;
    return spelling_of_bytes(text);
}

void ByteLevelTokenizer::find_whole_words(bool ignores_merges) {
    Encoding encoding;
    whole_words_.reserve(vocabulary_.model.size());
    for (const auto& [bytes, id] : vocabulary_.model) {
        encoding.ids.clear();
        if (!ignores_merges) bpe_.encode(bytes, encoding.scratch, encoding.ids);
        if (ignores_merges || encoding.ids == std::vector{id}) whole_words_.emplace(bytes, id);
    }
}

std::vector<TokenId> ByteLevelTokenizer::encode(std::string_view text) const {
    Encoding encoding;
    while (const auto match = added_.find(text)) {
        encode_raw(text.substr(0, match->begin), encoding);
        encoding.ids.push_back(match->id);
        text.remove_prefix(match->begin + match->length);
    }
    encode_raw(text, encoding);
    return std::move(encoding.ids);
}

// Text between added tokens, not yet normalised.
void ByteLevelTokenizer::encode_raw(std::string_view text, Encoding& encoding) const {
    if (normalizer_) text = normalizer_->normalize(text, encoding.normalized);
    while (const auto match = added_normalized_.find(text)) {
        encode_normalized(text.substr(0, match->begin), encoding);
        encoding.ids.push_back(match->id);
        text.remove_prefix(match->begin + match->length);
    }
    encode_normalized(text, encoding);
}

void ByteLevelTokenizer::encode_normalized(std::string_view text, Encoding& encoding) const {
    while (!text.empty()) {
        const std::size_t length = splitter_.first_word(text);
        encode_word(text.substr(0, length), encoding);
        text.remove_prefix(length);
    }
}

void ByteLevelTokenizer::encode_word(std::string_view word, Encoding& encoding) const {
    if (const auto whole = whole_words_.find(word); whole != whole_words_.end())
        encoding.ids.push_back(whole->second);
    else
        bpe_.encode(word, encoding.scratch, encoding.ids);
}

}  // namespace

void Tokenizer::begin(std::vector<TokenId>& ids) const {
    const auto wanted = beginning();
    if (std::ranges::mismatch(wanted, ids).in1 != wanted.end())
        ids.insert(ids.begin(), wanted.begin(), wanted.end());
}

base::Result<std::shared_ptr<const Tokenizer>> load_tokenizer(const std::string& path,
                                                              TokenId vocab_rows) {
    if (!tensor::is_gguf(path)) {
        HF_TRY_ASSIGN(auto file, read_tokenizer_file(path + "/tokenizer.json", vocab_rows));
        HF_TRY_ASSIGN(file.beginning,
                      folder_beginning(path, file.vocabulary, std::move(file.beginning)));
        return std::make_shared<const ByteLevelTokenizer>(std::move(file));
    }
    HF_TRY_ASSIGN(const auto gguf, tensor::Gguf::open(path));
    HF_TRY_ASSIGN(auto file, read_gguf_tokenizer(gguf, vocab_rows));
    return std::make_shared<const ByteLevelTokenizer>(std::move(file));
}

}  // namespace holdfast::text
