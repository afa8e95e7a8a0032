#include "inference/tensor/gguf.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "inference/tensor/gguf_format.h"

namespace holdfast::tensor {
namespace {

using base::Code;
using base::Result;
using gguf::ValueType;

// Far above every real file; what is kept per entry stays small next to the file itself.
constexpr std::uint64_t entries_max = 1 << 16;
constexpr std::uint64_t tensors_max = 1 << 16;
constexpr std::uint64_t alignment_max = 1 << 30;

std::string_view shown(std::string_view name) { return name.substr(0, 64); }

template <class T>
T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Walks over the bytes; nothing is read that has not been checked to be there.
class Cursor {
public:
    Cursor(std::span<const std::byte> bytes, const std::string& file)
        : bytes_(bytes), file_(file) {}

    std::size_t offset() const { return offset_; }
    std::size_t left() const { return bytes_.size() - offset_; }
    std::span<const std::byte> since(std::size_t begin) const {
        return bytes_.subspan(begin, offset_ - begin);
    }

    template <class... Args>
    std::unexpected<base::Error> wrong(fmt::format_string<Args...> format, Args&&... args) const {
        return base::fail(Code::invalid, "{}: at offset {}: {}", file_, offset_,
                          fmt::format(format, std::forward<Args>(args)...));
    }

    template <class T>
    Result<T> number(std::string_view what) {
        if (left() < sizeof(T)) return wrong("the file ends inside {}", what);
        const T value = load<T>(bytes_.data() + offset_);
        offset_ += sizeof(T);
        return value;
    }

    Result<std::string_view> text(std::string_view what, std::size_t bytes_max) {
        HF_TRY_ASSIGN(const auto length, number<std::uint64_t>(what));
        if (length > left())
            return wrong("{} of {} bytes reaches beyond the end of the file ({} bytes)", what,
                         length, bytes_.size());
        if (length > bytes_max)
            return wrong("{} has {} bytes, more than {}", what, length, bytes_max);
        const auto* const data = reinterpret_cast<const char*>(bytes_.data() + offset_);
        offset_ += length;
        return std::string_view(data, length);
    }

    Result<> skip(std::uint64_t count, std::size_t element_bytes, std::string_view what) {
        if (count > left() / element_bytes)
            return wrong("{} of {} elements reaches beyond the end of the file ({} bytes)", what,
                         count, bytes_.size());
        offset_ += count * element_bytes;
        return {};
    }

private:
    std::span<const std::byte> bytes_;
    const std::string& file_;
    std::size_t offset_ = 0;
};

struct Header {
    std::uint64_t tensors = 0, entries = 0;
};

Result<Header> read_header(Cursor& cursor) {
    HF_TRY_ASSIGN(const auto magic, cursor.number<std::uint32_t>("the magic number"));
    if (magic == std::byteswap(gguf::magic))
        return cursor.wrong("the magic number is that of a big-endian file, which is not read");
    if (magic != gguf::magic) return cursor.wrong("does not begin with GGUF");
    HF_TRY_ASSIGN(const auto version, cursor.number<std::uint32_t>("the version"));
    if (version != 0 && (version & 0xffff) == 0)
        return cursor.wrong("the file is big-endian, which is not read");
    if (version != 2 && version != 3)
        return cursor.wrong("GGUF version {} is not read, only versions 2 and 3", version);
    Header header;
    HF_TRY_ASSIGN(header.tensors, cursor.number<std::uint64_t>("the number of tensors"));
    if (header.tensors > tensors_max)
        return cursor.wrong("{} tensors, more than {}", header.tensors, tensors_max);
    HF_TRY_ASSIGN(header.entries, cursor.number<std::uint64_t>("the number of metadata entries"));
    if (header.entries > entries_max)
        return cursor.wrong("{} metadata entries, more than {}", header.entries, entries_max);
    return header;
}

Result<> skip_value(Cursor& cursor, std::uint32_t type, std::uint64_t count) {
    if (type == std::to_underlying(ValueType::string)) {
        for (std::uint64_t i = 0; i < count; ++i)
            HF_TRY(cursor.text("a text", std::numeric_limits<std::size_t>::max()));
        return {};
    }
    const std::size_t begin = cursor.offset();
    HF_TRY(cursor.skip(count, gguf::value_types[type].bytes, "a value"));
    if (type == std::to_underlying(ValueType::boolean))
        if (std::ranges::any_of(cursor.since(begin), [](std::byte b) { return b > std::byte{1}; }))
            return cursor.wrong("a bool before is neither 0 nor 1");
    return {};
}

Result<GgufEntry> read_entry(Cursor& cursor) {
    GgufEntry entry;
    HF_TRY_ASSIGN(entry.key, cursor.text("a key", gguf::key_bytes_max));
    HF_TRY_ASSIGN(entry.type, cursor.number<std::uint32_t>("a value's type"));
    const bool is_array = entry.type == std::to_underlying(ValueType::array);
    if (is_array) {
        HF_TRY_ASSIGN(entry.element_type, cursor.number<std::uint32_t>("an array's element type"));
        HF_TRY_ASSIGN(entry.count, cursor.number<std::uint64_t>("an array's length"));
    }
    const std::uint32_t type = is_array ? entry.element_type : entry.type;
    if (type >= std::size(gguf::value_types))
        return cursor.wrong("key \"{}\" has a value of the unknown type {}", shown(entry.key),
                            type);
    if (type == std::to_underlying(ValueType::array))
        return cursor.wrong("key \"{}\" is an array of arrays, which is not read",
                            shown(entry.key));
    const std::size_t begin = cursor.offset();
    HF_TRY(skip_value(cursor, type, entry.count));
    entry.value = cursor.since(begin);
    return entry;
}

Result<std::vector<GgufEntry>> read_entries(Cursor& cursor, std::uint64_t count,
                                            const std::string& file) {
    std::vector<GgufEntry> entries;
    for (std::uint64_t i = 0; i < count; ++i) {
        HF_TRY_ASSIGN(const GgufEntry entry, read_entry(cursor));
        entries.push_back(entry);
    }
    std::ranges::sort(entries, {}, &GgufEntry::key);
    const auto twin = std::ranges::adjacent_find(entries, {}, &GgufEntry::key);
    if (twin != entries.end())
        return base::fail(Code::invalid, "{}: key \"{}\" occurs twice", file, shown(twin->key));
    return entries;
}

// One tensor's entry, with its byte range still in numbers.
struct Place {
    Tensor tensor;
    std::uint64_t begin = 0, bytes = 0;
};

class PlaceReader {
public:
    PlaceReader(Cursor& cursor, const std::string& file) : cursor_(cursor), file_(file) {}

    Result<Place> read() {
        Place place;
        place.tensor.file = file_;
        HF_TRY_ASSIGN(place.tensor.name,
                      cursor_.text("a tensor's name", gguf::tensor_name_bytes_max));
        HF_TRY(read_shape(place.tensor));
        HF_TRY(read_type(place));
        HF_TRY_ASSIGN(place.begin, cursor_.number<std::uint64_t>("a tensor's offset"));
        return place;
    }

private:
    template <class... Args>
    std::unexpected<base::Error> wrong(const Tensor& tensor, fmt::format_string<Args...> format,
                                       Args&&... args) const {
        return base::fail(Code::invalid, "{}: tensor \"{}\" {}", file_, tensor.name,
                          fmt::format(format, std::forward<Args>(args)...));
    }

    Result<> read_shape(Tensor& tensor) {
        HF_TRY_ASSIGN(const auto dimensions, cursor_.number<std::uint32_t>("a tensor's shape"));
        if (dimensions == 0 || dimensions > gguf::dimensions_max)
            return wrong(tensor, "has {} dimensions, not 1 to {}", dimensions,
                         gguf::dimensions_max);
        for (std::uint32_t i = 0; i < dimensions; ++i) {
            HF_TRY_ASSIGN(const auto dimension, cursor_.number<std::uint64_t>("a tensor's shape"));
            if (dimension == 0) return wrong(tensor, "has a dimension of 0");
            tensor.shape.push_back(dimension);
        }
        std::ranges::reverse(tensor.shape);  // the file writes the innermost first
        return {};
    }

    Result<> read_type(Place& place) {
        Tensor& tensor = place.tensor;
        HF_TRY_ASSIGN(const auto number, cursor_.number<std::uint32_t>("a tensor's type"));
        const auto* const known =
            std::ranges::find(gguf::tensor_types, number, &gguf::TensorType::number);
        if (known == std::end(gguf::tensor_types)) {
            tensor.type_name = fmt::format("number {}", number);
            return {};  // nothing can be said about its size, and nothing will read it
        }
        tensor.type = known->type;
        tensor.type_name = known->name;
        if (tensor.shape.back() % known->block_elements != 0)
            return wrong(tensor, "has rows of {} elements, no multiple of {}'s block of {}",
                         tensor.shape.back(), known->name, known->block_elements);
        // 128 bits hold one product of 64-bit numbers, and each step is checked against 64 bits.
        using Wide = unsigned __int128;
        Wide bytes = known->block_bytes;
        for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
            const bool inner = i + 1 == tensor.shape.size();
            bytes *= inner ? tensor.shape[i] / known->block_elements : tensor.shape[i];
            if (bytes > std::numeric_limits<std::uint64_t>::max() / 2)
                return wrong(tensor, "with shape [{}] is larger than any file",
                             fmt::join(tensor.shape, ", "));
        }
        place.bytes = static_cast<std::uint64_t>(bytes);
        return {};
    }

    Cursor& cursor_;
    const std::string& file_;
};

// Gaps are allowed (aligning leaves them); overlaps would let a file alias its data.
Result<> check_places(std::vector<Place>& places, std::uint64_t data_bytes, std::uint64_t alignment,
                      const std::string& file) {
    std::ranges::sort(places, {}, [](const Place& p) { return std::pair(p.begin, p.bytes); });
    std::uint64_t covered = 0;
    for (const Place& place : places) {
        const auto wrong = [&](std::string_view reason) {
            return base::fail(Code::invalid, "{}: tensor \"{}\" at data offset {} {}", file,
                              place.tensor.name, place.begin, reason);
        };
        if (place.begin % alignment != 0)
            return wrong(fmt::format("is not aligned to {} bytes", alignment));
        if (place.begin > data_bytes || place.bytes > data_bytes - place.begin)
            return wrong(
                fmt::format("has {} bytes, but the file has only {} bytes of data: it is "
                            "cut short",
                            place.bytes, data_bytes));
        if (place.begin < covered)
            return wrong(fmt::format("overlaps the one before, which ends at {}", covered));
        covered = place.begin + place.bytes;
    }
    return {};
}

// The tensors by name, with their bytes.
Result<std::vector<Tensor>> finish(std::vector<Place> places, std::span<const std::byte> data,
                                   const std::string& file) {
    std::vector<Tensor> tensors;
    tensors.reserve(places.size());
    for (Place& place : places) {
        place.tensor.bytes = data.subspan(place.begin, place.bytes);
        tensors.push_back(std::move(place.tensor));
    }
    std::ranges::sort(tensors, {}, &Tensor::name);
    const auto twin = std::ranges::adjacent_find(tensors, {}, &Tensor::name);
    if (twin != tensors.end())
        return base::fail(Code::invalid, "{}: tensor \"{}\" occurs twice", file, twin->name);
    return tensors;
}

}  // namespace

bool is_gguf(std::string_view path) {
    std::error_code ignored;
    const auto status = std::filesystem::status(path, ignored);
    return std::filesystem::is_regular_file(status) ||
           (path.ends_with(".gguf") && !std::filesystem::is_directory(status));
}

Result<Gguf> Gguf::open(const std::string& path) {
    HF_TRY_ASSIGN(FileMap map, FileMap::open(path));
    HF_TRY_ASSIGN(Gguf read, parse(map.bytes(), path));
    read.map_ = std::move(map);
    return read;
}

Result<Gguf> Gguf::parse(std::span<const std::byte> bytes, const std::string& file) {
    Gguf read;
    read.file_ = file;
    Cursor cursor(bytes, file);
    HF_TRY_ASSIGN(const Header header, read_header(cursor));
    HF_TRY_ASSIGN(read.entries_, read_entries(cursor, header.entries, file));
    HF_TRY_ASSIGN(const auto written, read.integer("general.alignment"));
    const std::uint64_t alignment = written.value_or(gguf::default_alignment);
    if (!std::has_single_bit(alignment) || alignment > alignment_max)
        return base::fail(Code::invalid, "{}: general.alignment {} is no power of two up to {}",
                          file, alignment, alignment_max);
    std::vector<Place> places;
    for (std::uint64_t i = 0; i < header.tensors; ++i) {
        HF_TRY_ASSIGN(Place place, PlaceReader(cursor, file).read());
        places.push_back(std::move(place));
    }
    const std::size_t begin = (cursor.offset() + alignment - 1) / alignment * alignment;
    const auto data = bytes.subspan(std::min(begin, bytes.size()));
    HF_TRY(check_places(places, data.size(), alignment, file));
    HF_TRY_ASSIGN(read.tensors_, finish(std::move(places), data, file));
    return read;
}

}  // namespace holdfast::tensor
