// A transformer behind one function: token ids in, logits out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "common/cores/placement.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::model {

inline constexpr std::uint32_t block_tokens = 16;  // tokens in one KV block

using BlockId = std::uint32_t;

// The part of one sequence that a step computes: `tokens` stand at `position`,
// `position + 1`, ...; `blocks[i]` holds the keys and values of positions
// [i * block_tokens, (i + 1) * block_tokens) and must cover all positions up to the last token.
struct Slice {
    std::span<const chat::TokenId> tokens;
    std::uint32_t position = 0;
    std::span<const BlockId> blocks;
    // The last `logits` tokens of the slice give a row of logits each (0: none, 1: to sample).
    std::uint32_t logits = 0;
};

struct Shape {
    std::string architecture;  // "qwen2"
    std::uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
    std::uint32_t vocab = 0;         // rows of the head, padding rows included
    std::uint32_t context = 0;       // most positions a sequence can have
    std::vector<chat::TokenId> eos;  // generation ends at one of these
};

// One thread calls; the model uses its own pool of worker threads inside. Numerics contract
// (ARCHITECTURE.md): a row of logits is a function of the sequence's tokens up to that position
// alone, bit for bit, whatever else is in the batch and however the prompt was cut into slices.
class Model {
public:
    virtual ~Model() = default;
    virtual const Shape& shape() const = 0;
    // Names everything that decides the bits: weights' hash, weight format, numerics version.
    virtual const std::string& fingerprint() const = 0;
    virtual std::uint32_t blocks() const = 0;            // KV blocks reserved at load
    virtual std::uint32_t batch_tokens_max() const = 0;  // sum of slice lengths in one forward
    // Rows of logits in slice order, `shape().vocab` floats each, in the host's memory, valid until
    // the next call.
    virtual std::span<const float> forward(std::span<const Slice> slices) = 0;
    // Grows while forward works, several times per layer: the sign of progress. Any thread.
    virtual std::uint64_t progress() const = 0;

    // For other work between two forwards, by the thread that calls them: calls body(task) once for
    // every task in [0, tasks), on as many threads as there are and as `operations`, the work of
    // all tasks in multiply-adds, is worth; returns when all are done. `body` must not throw.
    virtual std::uint32_t threads() const { return 1; }
    virtual void run(std::uint32_t tasks, std::uint64_t operations,
                     const std::function<void(std::uint32_t task)>& body) {
        static_cast<void>(operations);
        for (std::uint32_t task = 0; task < tasks; ++task) body(task);
    }
};

// What a device gives a service whose settings leave these open; here, the processor's.
struct Defaults {
    std::uint32_t kv_tokens = 32'768;
    std::uint32_t batch_tokens_max = 512;
    std::uint32_t prefill_tokens_max = 256;  // of a step, beside running answers
    std::uint32_t running_max = 64;
    tensor::KvType kv_type = tensor::KvType::f32;
};

struct LoadOptions {
    std::string device = "cpu";  // or "cuda:0", or the id of a GPU: see device.h
    std::uint32_t threads = 1;   // of the host
    cores::Placement placement;  // of these threads
    std::uint32_t kv_tokens = Defaults().kv_tokens;  // capacity of the KV cache, in whole blocks
    std::uint32_t batch_tokens_max = Defaults().batch_tokens_max;
    std::string isa;  // "", "scalar", "avx2", "avx512", "vnni": empty picks the best
    // What linear layers and the embedding are converted to while loading; none: as in the file.
    // Rows that are no whole blocks of it, 256 elements for a K type, become q8_0, or f16 where
    // not even 32 divides them.
    std::optional<tensor::DataType> weights;
    tensor::KvType kv_type = Defaults().kv_type;
    // Use bf16 dot products where weights are bf16: faster, with a fingerprint of its own. Refused
    // where the processor has none.
    bool native_numerics = false;
    std::function<void(double share)> on_progress;  // 0..1, from the loading thread
};

// Blocks of a KV cache for these options.
std::uint32_t blocks_for(const LoadOptions& options);

// Options as settings write them. Errors name the option and what it may be.
// The name of a data type, or "q8" for q8_0 and "q4" for q4_0; none for "file".
base::Result<std::optional<tensor::DataType>> parse_weights(std::string_view text);
base::Result<tensor::KvType> parse_kv_type(std::string_view text);  // f32, bf16, q8
base::Result<bool> parse_native_numerics(std::string_view text);    // portable, native

// Loads a Hugging Face folder or a GGUF file. Errors name file, field and reason.
base::Result<std::unique_ptr<Model>> load(const std::string& path, const LoadOptions& options);

}  // namespace holdfast::model
