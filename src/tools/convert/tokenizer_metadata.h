// A Hugging Face tokenizer as GGUF's metadata.
#pragma once

#include <string>

#include "common/base/error.h"
#include "inference/tensor/config.h"
#include "inference/tensor/gguf_writer.h"

namespace holdfast::convert {

// Adds what tokenizer.json, tokenizer_config.json and, if it exists, chat_template.jinja of
// `folder` say: the byte-level vocabulary with a row for each of config.vocab, merges, the special
// tokens and the chat template. Errors name file and field; tokenizers other than byte-level BPE
// with the splitter of Qwen2 or Llama 3 are refused.
[[nodiscard]] base::Result<> add_tokenizer(const std::string& folder, const tensor::Config& config,
                                           tensor::GgufMetadata& metadata);

}  // namespace holdfast::convert
