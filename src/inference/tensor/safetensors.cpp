#include "inference/tensor/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace holdfast::tensor {
namespace {

using base::Code;
namespace dom = simdjson::dom;

constexpr std::size_t length_bytes = 8;
constexpr std::size_t dimensions_max = 8;

struct KnownType {
    std::string_view name;
    unsigned bits;
    DataType type;
};
constexpr KnownType known_types[] = {
    {"BF16", 16, DataType::bf16},    {"F16", 16, DataType::f16},
    {"F32", 32, DataType::f32},      {"F64", 64, DataType::other},
    {"BOOL", 8, DataType::other},    {"U8", 8, DataType::other},
    {"I8", 8, DataType::other},      {"F8_E4M3", 8, DataType::other},
    {"F8_E5M2", 8, DataType::other}, {"F8_E8M0", 8, DataType::other},
    {"U16", 16, DataType::other},    {"I16", 16, DataType::other},
    {"U32", 32, DataType::other},    {"I32", 32, DataType::other},
    {"U64", 64, DataType::other},    {"I64", 64, DataType::other},
};

struct Header {
    std::string_view text;
    std::span<const std::byte> data;
};

base::Result<Header> split(std::span<const std::byte> bytes, const std::string& file) {
    if (bytes.size() < length_bytes)
        return base::fail(Code::invalid, "{}: {} bytes, too short for a header length", file,
                          bytes.size());
    std::uint64_t length = 0;
    for (std::size_t i = length_bytes; i-- > 0;)
        length = length << 8 | std::to_integer<std::uint64_t>(bytes[i]);
    if (length > header_bytes_max)
        return base::fail(Code::invalid, "{}: header length {} at offset 0 exceeds {}", file,
                          length, header_bytes_max);
    if (length > bytes.size() - length_bytes)
        return base::fail(Code::invalid,
                          "{}: header length {} at offset 0 reaches beyond the end of the file "
                          "({} bytes)",
                          file, length, bytes.size());
    const auto* text = reinterpret_cast<const char*>(bytes.data()) + length_bytes;
    return Header{{text, length}, bytes.subspan(length_bytes + length)};
}

// One tensor's entry, with its byte range still in numbers.
struct Entry {
    Tensor tensor;
    std::uint64_t begin = 0, end = 0;
};

class EntryReader {
public:
    EntryReader(const std::string& file, std::string_view name, std::uint64_t data_bytes)
        : file_(file), name_(name), data_bytes_(data_bytes) {}

    base::Result<Entry> read(dom::element value) {
        dom::object object;
        if (value.get(object)) return wrong("is not an object");
        Entry entry;
        entry.tensor.file = file_;
        entry.tensor.name = name_;
        bool has_type = false, has_shape = false, has_offsets = false;
        for (const auto [key, field] : object) {
            bool* const seen = key == "dtype"          ? &has_type
                               : key == "shape"        ? &has_shape
                               : key == "data_offsets" ? &has_offsets
                                                       : nullptr;
            if (seen == nullptr) return wrong(fmt::format("has the unknown field \"{}\"", key));
            if (std::exchange(*seen, true)) return wrong(fmt::format("has \"{}\" twice", key));
            HF_TRY(seen == &has_type    ? read_type(field, entry)
                   : seen == &has_shape ? read_shape(field, entry)
                                        : read_offsets(field, entry));
        }
        if (!has_type) return wrong("has no \"dtype\"");
        if (!has_shape) return wrong("has no \"shape\"");
        if (!has_offsets) return wrong("has no \"data_offsets\"");
        HF_TRY(check_size(entry));
        return entry;
    }

private:
    std::unexpected<base::Error> wrong(std::string_view reason) const {
        return base::fail(Code::invalid, "{}: tensor \"{}\" {}", file_, name_, reason);
    }

    base::Result<> read_type(dom::element field, Entry& entry) {
        std::string_view text;
        if (field.get(text)) return wrong("has a \"dtype\" that is not a string");
        const auto* known = std::ranges::find(known_types, text, &KnownType::name);
        if (known == std::end(known_types))
            return wrong(fmt::format("has the unknown dtype \"{}\"", text.substr(0, 32)));
        bits_ = known->bits;
        entry.tensor.type = known->type;
        entry.tensor.type_name = text;
        return {};
    }

    base::Result<> read_shape(dom::element field, Entry& entry) {
        dom::array dimensions;
        if (field.get(dimensions)) return wrong("has a \"shape\" that is not an array");
        for (const dom::element element : dimensions) {
            const std::size_t index = entry.tensor.shape.size();
            if (index == dimensions_max)
                return wrong(fmt::format("has more than {} dimensions", dimensions_max));
            std::uint64_t dimension = 0;
            if (element.get(dimension) || dimension == 0)
                return wrong(
                    fmt::format("has a dimension {} that is not a positive integer", index));
            entry.tensor.shape.push_back(dimension);
        }
        return {};
    }

    base::Result<> read_offsets(dom::element field, Entry& entry) {
        dom::array offsets;
        if (field.get(offsets) || offsets.size() != 2 || offsets.at(0).get(entry.begin) ||
            offsets.at(1).get(entry.end))
            return wrong("has \"data_offsets\" that are not two non-negative integers");
        return {};
    }

    base::Result<> check_size(const Entry& entry) const {
        if (entry.begin > entry.end || entry.end > data_bytes_)
            return wrong(fmt::format("has data_offsets [{}, {}] outside the {} bytes of data",
                                     entry.begin, entry.end, data_bytes_));
        // 128 bits hold one product of 64-bit numbers, and each step is checked against the file.
        using Wide = unsigned __int128;
        Wide bytes = bits_ / 8;
        for (const std::uint64_t dimension : entry.tensor.shape) {
            bytes *= dimension;
            if (bytes > data_bytes_) break;
        }
        if (bytes != entry.end - entry.begin)
            return wrong(
                fmt::format("has {} bytes at data_offsets [{}, {}], which do not agree "
                            "with dtype {} and shape [{}]",
                            entry.end - entry.begin, entry.begin, entry.end, entry.tensor.type_name,
                            fmt::join(entry.tensor.shape, ", ")));
        return {};
    }

    const std::string& file_;
    std::string_view name_;
    std::uint64_t data_bytes_;
    unsigned bits_ = 0;
};

// The format allows neither holes nor overlaps: either would let a file hide or alias data.
base::Result<> check_tiling(std::vector<Entry>& entries, std::uint64_t data_bytes,
                            const std::string& file) {
    std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
    std::uint64_t covered = 0;
    for (const Entry& entry : entries) {
        if (entry.begin != covered)
            return base::fail(Code::invalid,
                              "{}: tensor \"{}\" begins at data offset {} and {} the bytes before, "
                              "which end at {}",
                              file, entry.tensor.name, entry.begin,
                              entry.begin < covered ? "overlaps" : "leaves a gap after", covered);
        covered = entry.end;
    }
    if (covered != data_bytes)
        return base::fail(Code::invalid, "{}: tensors end at data offset {}, the file at {}", file,
                          covered, data_bytes);
    return {};
}

base::Result<std::vector<Entry>> read_entries(const Header& header, const std::string& file) {
    dom::parser parser;
    dom::element root;
    const simdjson::padded_string text(header.text);
    if (const auto error = parser.parse(text).get(root))
        return base::fail(Code::invalid, "{}: header is not JSON: {}", file,
                          simdjson::error_message(error));
    dom::object object;
    if (root.get(object)) return base::fail(Code::invalid, "{}: header is not an object", file);
    std::vector<Entry> entries;
    bool has_metadata = false;
    for (const auto [key, value] : object) {
        if (key == "__metadata__") {
            if (std::exchange(has_metadata, true) || !value.is_object())
                return base::fail(Code::invalid, "{}: \"__metadata__\" is not one object", file);
            continue;
        }
        HF_TRY_ASSIGN(Entry entry, EntryReader(file, key, header.data.size()).read(value));
        entries.push_back(std::move(entry));
    }
    return entries;
}

}  // namespace

base::Result<std::vector<Tensor>> parse_safetensors(std::span<const std::byte> bytes,
                                                    const std::string& file) {
    HF_TRY_ASSIGN(const Header header, split(bytes, file));
    HF_TRY_ASSIGN(std::vector<Entry> entries, read_entries(header, file));
    HF_TRY(check_tiling(entries, header.data.size(), file));
    std::vector<Tensor> tensors;
    tensors.reserve(entries.size());
    for (Entry& entry : entries) {
        entry.tensor.bytes = header.data.subspan(entry.begin, entry.end - entry.begin);
        tensors.push_back(std::move(entry.tensor));
    }
    std::ranges::sort(tensors, {}, &Tensor::name);
    const auto twin = std::ranges::adjacent_find(tensors, {}, &Tensor::name);
    if (twin != tensors.end())
        return base::fail(Code::invalid, "{}: tensor \"{}\" occurs twice", file, twin->name);
    return tensors;
}

}  // namespace holdfast::tensor
