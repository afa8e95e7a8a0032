// Writes GGUF files, version 3, little-endian, aligned to 32 bytes.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/gguf.h"

namespace holdfast::tensor {

// Metadata in the order in which it is added. The caller does not add a key twice.
class GgufMetadata {
public:
    void integer(std::string_view key, std::uint32_t value);
    void number(std::string_view key, float value);
    void flag(std::string_view key, bool value);
    void text(std::string_view key, std::string_view value);
    void texts(std::string_view key, std::span<const std::string> values);
    void integers(std::string_view key, std::span<const std::int32_t> values);
    // As it stands in another file.
    void copy(const GgufEntry& entry);

    std::uint64_t count() const { return count_; }
    const std::string& bytes() const { return bytes_; }

private:
    void begin(std::string_view key, std::uint32_t type);

    std::uint64_t count_ = 0;
    std::string bytes_;
};

struct GgufTensor {
    std::string name;
    std::vector<std::uint64_t> shape;  // outermost first, rows are whole blocks
    DataType type = DataType::other;
};

std::size_t bytes_of(const GgufTensor& tensor);

// One file in the making. It grows under another name beside its own, and gets its own name when
// everything is written and on the disk: whoever sees the name sees a whole file. Destroyed before
// that, it leaves nothing behind; after a sudden death, a file that ends in ".partial".
class GgufWriter {
public:
    // Writes everything but the tensors' numbers and reserves the space for them. Errors name the
    // file and the reason; invalid if the file exists and is not to be replaced.
    [[nodiscard]] static base::Result<GgufWriter> create(const std::string& path, bool replace,
                                                         const GgufMetadata& metadata,
                                                         std::vector<GgufTensor> tensors);
    GgufWriter(GgufWriter&&) = default;
    GgufWriter& operator=(GgufWriter&&) = delete;
    ~GgufWriter();

    // The next bytes of the tensors, which follow each other in the order given.
    [[nodiscard]] base::Result<> append(std::span<const std::byte> bytes);

    // After the last byte of the last tensor: everything is on the disk, under partial_path().
    [[nodiscard]] base::Result<> sync();
    const std::string& partial_path() const { return partial_path_; }
    // After sync(): the file gets its name.
    [[nodiscard]] base::Result<> finish();

    std::uint64_t file_bytes() const { return file_bytes_; }

private:
    GgufWriter(std::string path, bool replace) : path_(std::move(path)), replace_(replace) {}
    [[nodiscard]] base::Result<> open();
    [[nodiscard]] base::Result<> write(std::string_view bytes);
    std::unexpected<base::Error> failed(std::string_view what) const;

    std::string path_;
    bool replace_;
    std::string partial_path_;
    base::UniqueFd fd_;
    std::vector<GgufTensor> tensors_;
    std::size_t tensor_ = 0;        // the one being written,
    std::size_t tensor_bytes_ = 0;  // and how much of it has been
    std::uint64_t file_bytes_ = 0;
};

}  // namespace holdfast::tensor
