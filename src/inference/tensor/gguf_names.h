// The names of GGUF's tensors and their names in a Hugging Face folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::tensor {

// "blk.3.attn_q.weight" becomes "model.layers.3.self_attn.q_proj.weight"; nothing for a tensor that
// neither Qwen2 nor Llama has. GGUF's "rope_freqs.weight" keeps its name.
std::optional<std::string> hugging_face_name(std::string_view gguf_name);

// The way back.
std::optional<std::string> gguf_name(std::string_view hugging_face_name);

}  // namespace holdfast::tensor
