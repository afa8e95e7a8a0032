// What stands before a text by a model's metadata: its beginning-of-sequence token, or nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "inference/tensor/gguf.h"
#include "inference/text/json_file.h"
#include "inference/text/vocabulary.h"

namespace holdfast::text {

// The bos_token of a tokenizer_config.json. None where it is null or left out, as in Qwen's own
// models: then a template's bos_token renders as nothing.
base::Result<std::optional<std::string>> bos_token(const JsonField& config);
// The same of a GGUF file's metadata.
base::Result<std::optional<std::string>> bos_token(const tensor::Gguf& file);

// The ids that the post_processor of a tokenizer.json writes before a text alone. What it writes
// behind one is left out, since an answer is to follow there.
base::Result<std::vector<chat::TokenId>> template_beginning(const JsonField& post_processor,
                                                            const Vocabulary& vocabulary);

// As transformers: where the folder's tokenizer_config.json says add_bos_token, this counts, and
// else `by_template`.
base::Result<std::vector<chat::TokenId>> folder_beginning(const std::string& folder,
                                                          const Vocabulary& vocabulary,
                                                          std::vector<chat::TokenId> by_template);

// As llama.cpp: by add_bos_token, or else by `adds_usually`.
base::Result<std::vector<chat::TokenId>> gguf_beginning(const tensor::Gguf& file,
                                                        const Vocabulary& vocabulary,
                                                        bool adds_usually);

}  // namespace holdfast::text
