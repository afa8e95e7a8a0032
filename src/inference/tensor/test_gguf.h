// For tests: GGUF files put together byte by byte, also such that no writer would write.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "inference/tensor/gguf_format.h"

namespace holdfast::tensor::testing {

using gguf::ValueType;

template <class T>
std::string raw(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

inline std::string raw_text(std::string_view text) {
    return raw(std::uint64_t{text.size()}) + std::string(text);
}

// Metadata and tensors in the order in which they are added.
class GgufBytes {
public:
    std::uint32_t version = 3, alignment = 32;

    GgufBytes& value(std::string_view key, ValueType type, const std::string& bytes) {
        ++entries_;
        metadata_ += raw_text(key) + raw(type) + bytes;
        return *this;
    }
    GgufBytes& integer(std::string_view key, std::uint32_t number) {
        return value(key, ValueType::uint32, raw(number));
    }
    GgufBytes& number(std::string_view key, float number) {
        return value(key, ValueType::float32, raw(number));
    }
    GgufBytes& flag(std::string_view key, bool set) {
        return value(key, ValueType::boolean, std::string(1, set ? '\1' : '\0'));
    }
    GgufBytes& text(std::string_view key, std::string_view text) {
        return value(key, ValueType::string, raw_text(text));
    }
    GgufBytes& array(std::string_view key, ValueType element_type, std::uint64_t count,
                     const std::string& bytes) {
        return value(key, ValueType::array, raw(element_type) + raw(count) + bytes);
    }
    GgufBytes& texts(std::string_view key, const std::vector<std::string>& texts) {
        std::string bytes;
        for (const std::string& text : texts) bytes += raw_text(text);
        return array(key, ValueType::string, texts.size(), bytes);
    }

    // `shape` is outermost first, `type` GGUF's number.
    GgufBytes& tensor(std::string_view name, const std::vector<std::uint64_t>& shape,
                      std::uint32_t type, const std::string& bytes) {
        return tensor_at(name, shape, type, data_.size(), bytes);
    }
    // With an offset that may be wrong.
    GgufBytes& tensor_at(std::string_view name, const std::vector<std::uint64_t>& shape,
                         std::uint32_t type, std::uint64_t offset, const std::string& bytes) {
        ++tensors_;
        directory_ += raw_text(name) + raw(static_cast<std::uint32_t>(shape.size()));
        for (std::size_t i = shape.size(); i-- > 0;) directory_ += raw(shape[i]);
        directory_ += raw(type) + raw(offset);
        data_ += bytes;
        pad(data_);
        return *this;
    }

    std::string bytes() const {
        std::string file = raw(gguf::magic) + raw(version) + raw(tensors_) + raw(entries_) +
                           metadata_ + directory_;
        if (tensors_ > 0) pad(file);
        return file + data_;
    }

private:
    void pad(std::string& bytes) const {
        bytes.resize((bytes.size() + alignment - 1) / alignment * alignment, '\0');
    }

    std::uint64_t entries_ = 0, tensors_ = 0;
    std::string metadata_, directory_, data_;
};

}  // namespace holdfast::tensor::testing
