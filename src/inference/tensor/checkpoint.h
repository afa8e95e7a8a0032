#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/file_map.h"
#include "inference/tensor/gguf.h"
#include "inference/tensor/safetensors.h"

namespace holdfast::tensor {

// The weights of a Hugging Face folder (model.safetensors, or the shards that
// model.safetensors.index.json names) or of a GGUF file (all parts of a split one), under the names
// of transformers' Qwen2ForCausalLM and LlamaForCausalLM, such as
// "model.layers.0.self_attn.q_proj.weight". Owns the mapped files; tensors point into them.
// Immutable after open, any thread.
class Checkpoint {
public:
    // Errors name the file and the reason. Shards are plain file names inside the folder; the parts
    // of a split GGUF file lie beside the first one, which `path` names. A GGUF file with a tensor
    // that neither Qwen2 nor Llama has is refused: its result would be wrong without that tensor.
    [[nodiscard]] static base::Result<Checkpoint> open(const std::string& path);

    // GGUF files of the Llama architecture keep the rows of each query and key head in another
    // order, for rotating neighbours: row 2 i is transformers' row i, row 2 i + 1 is its row
    // i + head_dim / 2.
    bool has_interleaved_heads() const { return interleaved_heads_; }

    // The tensor with this name and shape and a type that can be computed with. Errors name the
    // tensor, and both shapes when they differ.
    [[nodiscard]] base::Result<const Tensor*> get(std::string_view name,
                                                  std::initializer_list<std::uint64_t> shape) const;

    // The tensor with this name, of whatever shape and type, or null.
    const Tensor* find(std::string_view name) const;
    // All of them, by name.
    std::span<const Tensor> tensors() const { return tensors_; }

private:
    explicit Checkpoint(std::string path) : path_(std::move(path)) {}
    base::Result<> add_file(const std::string& name);
    base::Result<> add_shards(const std::string& index_path);
    base::Result<> add_gguf();
    base::Result<> add_gguf_tensors(const Gguf& part);
    base::Result<> sort_and_refuse_twins();

    std::string path_;
    bool interleaved_heads_ = false;
    std::vector<FileMap> files_;
    std::vector<Gguf> ggufs_;
    std::vector<Tensor> tensors_;  // by name
};

}  // namespace holdfast::tensor
