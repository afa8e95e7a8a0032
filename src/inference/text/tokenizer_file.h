// What a tokenizer.json or the metadata of a GGUF file says, checked.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/gguf.h"
#include "inference/text/added_tokens.h"
#include "inference/text/bpe.h"
#include "inference/text/normalizer.h"
#include "inference/text/vocabulary.h"
#include "inference/text/word_split.h"

namespace holdfast::text {

struct TokenizerFile {
    Vocabulary vocabulary;
    std::array<chat::TokenId, 256> bytes{};  // the token of each byte
    std::vector<Merge> merges;
    AddedTokens added;                     // found in the text as it is
    AddedTokens added_normalized;          // found after normalisation
    std::optional<WordSplitter> splitter;  // always there in a file that was read
    std::optional<Normalizer> normalizer;  // absent: text stays as it is
    std::vector<chat::TokenId> beginning;  // before a prompt of plain text: see beginning.h
    bool ignores_merges = false;  // a word that is a token becomes it, whatever the merges say
};

// Reads a byte-level BPE tokenizer. Whatever would change ids and is not supported is refused;
// truncation and padding are not read, as they are the caller's matter. Every id must be below
// `vocab_rows`.
base::Result<TokenizerFile> read_tokenizer_file(const std::string& path, chat::TokenId vocab_rows);

// The same from a GGUF file's metadata "tokenizer.ggml.*", as llama.cpp's converter writes it:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What it does not say is known from the
// name of its splitter: Qwen2's texts are normalised, Llama 3's merges are ignored and its texts
// get a BOS. Padding rows have no token.
base::Result<TokenizerFile> read_gguf_tokenizer(const tensor::Gguf& file, chat::TokenId vocab_rows);

}  // namespace holdfast::text
