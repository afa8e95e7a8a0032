// The GGUF format, versions 2 and 3, little-endian: header, metadata, tensor directory, data.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/file_map.h"
#include "inference/tensor/safetensors.h"

namespace holdfast::tensor {

// The path names a GGUF file rather than a folder.
bool is_gguf(std::string_view path);

// One piece of metadata as the file holds it, checked to lie inside the file.
struct GgufEntry {
    std::string_view key;
    std::uint32_t type = 0, element_type = 0;  // GGUF's numbers; element_type for arrays only
    std::uint64_t count = 1;                   // elements of an array
    std::span<const std::byte> value;
};

// One file, mapped; everything that was read from it has been checked against the file's size, and
// views stay valid as long as the object lives, also after a move. Any thread may read.
class Gguf {
public:
    // Errors name the file, the offset or the key, and the reason.
    [[nodiscard]] static base::Result<Gguf> open(const std::string& path);
    // The same for bytes that the caller keeps; `file` names them in errors.
    [[nodiscard]] static base::Result<Gguf> parse(std::span<const std::byte> bytes,
                                                  const std::string& file);

    // Metadata by key. nullopt if the key is absent, an error that names file and key if its value
    // has another type (integers of any width and sign are one type, if the value fits).
    base::Result<std::optional<std::uint64_t>> integer(std::string_view key) const;
    base::Result<std::optional<double>> number(std::string_view key) const;
    base::Result<std::optional<bool>> flag(std::string_view key) const;
    base::Result<std::optional<std::string_view>> text(std::string_view key) const;
    base::Result<std::optional<std::vector<std::string_view>>> texts(std::string_view key) const;
    base::Result<std::optional<std::vector<std::int64_t>>> integers(std::string_view key) const;
    base::Result<std::optional<std::vector<double>>> numbers(std::string_view key) const;

    // All entries, by key.
    std::span<const GgufEntry> entries() const { return entries_; }

    // By name; names, types and shapes are the file's own (the shape outermost first, as in
    // safetensors).
    std::span<const Tensor> tensors() const { return tensors_; }
    const std::string& file() const { return file_; }

private:
    Gguf() = default;
    const GgufEntry* find(std::string_view key) const;

    std::string file_;
    std::optional<FileMap> map_;
    std::vector<GgufEntry> entries_;  // by key
    std::vector<Tensor> tensors_;
};

}  // namespace holdfast::tensor
