// For tests: a small model with random weights and a tokenizer of a few tokens, as a folder.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/test_folder.h"
#include "inference/tensor/float16.h"

namespace holdfast::convert {

struct FolderModelOptions {
    std::string architecture = "qwen2";
    std::uint32_t ffn = 352;
    bool tied_head = false;
    std::string eos = "3";
    std::uint16_t spoilt_bits = 0;  // the last bf16 number of layer 1's up_proj, unless 0
};

// 2 layers, rows of 256 in bf16, heads of 64, Llama 3 scaling for llama.
class FolderModel {
public:
    explicit FolderModel(FolderModelOptions options) : options_(std::move(options)) {
        const bool is_llama = options_.architecture == "llama";
        folder_.write("config.json", config(is_llama));
        folder_.write("tokenizer.json", tokenizer(is_llama));
        folder_.write("tokenizer_config.json",
                      R"({"bos_token":"<|begin|>","eos_token":{"content":"<|end|>"},)"
                      R"("chat_template":[{"name":"default","template":"the field's template"}]})");
        folder_.write("chat_template.jinja", "the file's template");
        write_weights(is_llama);
    }

    const std::string& path() const { return folder_.path(); }

private:
    static constexpr std::uint64_t vocab = 300, hidden = 256, kept = 128;

    std::string config(bool is_llama) const {
        return fmt::format(
            R"({{"model_type":"{}","hidden_size":256,"intermediate_size":{},"num_hidden_layers":2,)"
            R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":300,)"
            R"("max_position_embeddings":131072,"rope_theta":500000.0,"rms_norm_eps":1e-5,)"
            R"("tie_word_embeddings":{},"eos_token_id":{},"rope_scaling":{}}})",
            options_.architecture, options_.ffn, options_.tied_head, options_.eos,
            is_llama ? R"({"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                       R"("original_max_position_embeddings":8192,"rope_type":"llama3"})"
                     : "null");
    }

    static std::string tokenizer(bool is_llama) {
        const std::string digits = is_llama ? "{1,3}" : "";
        return R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]},)"
               R"("added_tokens":[{"id":3,"content":"<|end|>","special":true},)"
               R"({"id":4,"content":"<|begin|>","special":true},)"
               R"({"id":5,"content":"<|turn|>","special":true}],)"
               R"("post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},)"
               R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|begin|>"}}]}]},)"
               R"("pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":)"
               R"({"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N})" +
               digits + R"(| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}]}})";
    }

    void write_weights(bool is_llama) {
        add("model.embed_tokens.weight", {vocab, hidden});
        add("model.norm.weight", {hidden});
        if (!options_.tied_head) add("lm_head.weight", {vocab, hidden});
        for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
            add(layer + "input_layernorm.weight", {hidden});
            add(layer + "post_attention_layernorm.weight", {hidden});
            for (const std::string part : {"q", "k", "v"}) {
                const std::uint64_t rows = part == "q" ? hidden : kept;
                add(layer + "self_attn." + part + "_proj.weight", {rows, hidden});
                if (!is_llama) add(layer + "self_attn." + part + "_proj.bias", {rows});
            }
            add(layer + "self_attn.o_proj.weight", {hidden, hidden});
            add(layer + "mlp.gate_proj.weight", {options_.ffn, hidden});
            add(layer + "mlp.up_proj.weight", {options_.ffn, hidden});
            if (options_.spoilt_bits != 0 && layer == "model.layers.1.")
                tensor::store_u16(reinterpret_cast<std::byte*>(data_.data()) + data_.size() - 2,
                                  options_.spoilt_bits);
            add(layer + "mlp.down_proj.weight", {hidden, options_.ffn});
        }
        header_ = "{" + header_ + "}";
        const std::uint64_t length = header_.size();
        folder_.write(
            "model.safetensors",
            std::string(reinterpret_cast<const char*>(&length), sizeof length) + header_ + data_);
    }

    // Roughly normally distributed.
    void add(const std::string& name, const std::vector<std::uint64_t>& shape) {
        std::size_t count = 1;
        for (const std::uint64_t dimension : shape) count *= dimension;
        const std::size_t begin = data_.size();
        data_.resize(begin + 2 * count);
        ++tensors_;
        for (std::size_t i = 0; i < count; ++i) {
            float sum = -2;
            for (std::uint32_t part = 0; part < 4; ++part) sum += base::uniform(tensors_, part, i);
            tensor::store_u16(reinterpret_cast<std::byte*>(data_.data()) + begin + 2 * i,
                              tensor::float_to_bf16(sum));
        }
        header_ += fmt::format(R"({}"{}":{{"dtype":"BF16","shape":[{}],"data_offsets":[{},{}]}})",
                               header_.empty() ? "" : ",", name, fmt::join(shape, ","), begin,
                               data_.size());
    }

    FolderModelOptions options_;
    base::testing::TemporaryFolder folder_;
    std::uint32_t tensors_ = 0;
    std::string header_, data_;
};

}  // namespace holdfast::convert
