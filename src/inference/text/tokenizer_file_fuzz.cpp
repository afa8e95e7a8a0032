// Feeds arbitrary bytes to the readers of tokenizers and templates: as tokenizer.json, as
// tokenizer_config.json, as a GGUF file's metadata, and as a template's source. What is accepted
// must encode without trouble.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "common/base/assert.h"
#include "inference/text/chat_format.h"
#include "inference/text/tokenizer.h"
#include "inference/text/tokenizer_file.h"

namespace holdfast::text {
namespace {

constexpr TokenId vocab_rows = 1'024;

void use(const TokenizerFile& file) {
    const Bpe bpe(file.bytes, file.merges);
    Bpe::Scratch scratch;
    std::vector<TokenId> ids;
    bpe.encode("every morning, <｜User｜> 123", scratch, ids);
    for (const TokenId id : ids) HF_ASSERT(file.vocabulary.holds(id));
}

std::string make_folder() {
    const auto folder = std::filesystem::temp_directory_path() / "holdfast_tokenizer_fuzz";
    std::filesystem::create_directories(folder);
    return folder.string();
}

void read(std::string_view bytes) {
    static const std::string folder = make_folder();
    const std::string path = folder + "/tokenizer_config.json";
    std::ofstream(path, std::ios::binary) << bytes;
    if (const auto file = read_tokenizer_file(path, vocab_rows)) use(*file);
    [[maybe_unused]] const auto format = read_format_file(path);
    if (const auto chat_template = ChatTemplate::load(folder)) chat_template->render({});

    const auto gguf = tensor::Gguf::parse(std::as_bytes(std::span(bytes)), "fuzz");
    if (gguf)
        if (const auto file = read_gguf_tokenizer(*gguf, vocab_rows)) use(*file);
    [[maybe_unused]] const auto recognised = recognise_template(bytes);
}

}  // namespace
}  // namespace holdfast::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::text::read({reinterpret_cast<const char*>(data), size});
    return 0;
}
