// Feeds arbitrary bytes to the readers of what describes a model: as config.json, as
// generation_config.json, as a GGUF file's metadata, and as the index of a folder's shards.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "common/base/assert.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"

namespace holdfast::tensor {
namespace {

constexpr std::string_view sound_config =
    R"({"model_type":"qwen2","hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,)"
    R"("num_attention_heads":2,"num_key_value_heads":1,"vocab_size":300,)"
    R"("max_position_embeddings":1024,"eos_token_id":2})";

void write(const std::string& path, std::string_view content) {
    std::ofstream(path, std::ios::binary) << content;
}

// One with a sound config.json, for what is beside it.
std::string make_folder(const std::string& name) {
    const auto folder = std::filesystem::temp_directory_path() / ("holdfast_config_fuzz_" + name);
    std::filesystem::create_directories(folder);
    write((folder / "config.json").string(), sound_config);
    return folder.string();
}

void check(const std::string& path) {
    const auto config = read_config(path);
    if (!config) return;
    HF_ASSERT(config->layers > 0 && config->hidden > 0 && config->kv_heads > 0);
    HF_ASSERT(config->heads % config->kv_heads == 0);
}

void read(std::string_view bytes) {
    static const std::string alone = make_folder("alone"), beside = make_folder("beside");
    write(alone + "/config.json", bytes);
    check(alone);
    write(beside + "/generation_config.json", bytes);
    check(beside);
    write(beside + "/m.gguf", bytes);
    check(beside + "/m.gguf");
    write(beside + "/model.safetensors.index.json", bytes);
    [[maybe_unused]] const auto checkpoint = Checkpoint::open(beside);
}

}  // namespace
}  // namespace holdfast::tensor

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::tensor::read({reinterpret_cast<const char*>(data), size});
    return 0;
}
