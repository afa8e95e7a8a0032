#include "inference/tensor/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "common/base/assert.h"
#include "common/base/random.h"
#include "inference/tensor/gguf_format.h"

namespace holdfast::tensor {
namespace {

using base::Code;
using base::Result;
using gguf::ValueType;

template <class T>
void append_number(std::string& bytes, T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& bytes, std::string_view text) {
    append_number(bytes, std::uint64_t{text.size()});
    bytes += text;
}

std::uint64_t padding_after(std::uint64_t bytes) {
    return (gguf::default_alignment - bytes % gguf::default_alignment) % gguf::default_alignment;
}

std::uint32_t number_of(DataType type) {
    const auto* const found = std::ranges::find(gguf::tensor_types, type, &gguf::TensorType::type);
    HF_ASSERT(found != std::end(gguf::tensor_types));
    return found->number;
}

std::string header_bytes(const GgufMetadata& metadata, std::span<const GgufTensor> tensors) {
    std::string bytes;
    append_number(bytes, gguf::magic);
    append_number(bytes, gguf::version_written);
    append_number(bytes, std::uint64_t{tensors.size()});
    append_number(bytes, metadata.count());
    bytes += metadata.bytes();
    std::uint64_t offset = 0;
    for (const GgufTensor& tensor : tensors) {
        append_text(bytes, tensor.name);
        append_number(bytes, static_cast<std::uint32_t>(tensor.shape.size()));
        for (std::size_t i = tensor.shape.size(); i-- > 0;) append_number(bytes, tensor.shape[i]);
        append_number(bytes, number_of(tensor.type));
        append_number(bytes, offset);
        offset += bytes_of(tensor);
        offset += padding_after(offset);
    }
    bytes.resize(bytes.size() + padding_after(bytes.size()), '\0');
    return bytes;
}

// A name is on the disk only when its folder is.
bool sync_folder(const std::string& path) {
    const auto parent = std::filesystem::path(path).parent_path();
    const base::UniqueFd folder(
        ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return folder && ::fsync(folder.get()) == 0;
}

}  // namespace

void GgufMetadata::begin(std::string_view key, std::uint32_t type) {
    ++count_;
    append_text(bytes_, key);
    append_number(bytes_, type);
}

void GgufMetadata::integer(std::string_view key, std::uint32_t value) {
    begin(key, std::to_underlying(ValueType::uint32));
    append_number(bytes_, value);
}

void GgufMetadata::number(std::string_view key, float value) {
    begin(key, std::to_underlying(ValueType::float32));
    append_number(bytes_, value);
}

void GgufMetadata::flag(std::string_view key, bool value) {
    begin(key, std::to_underlying(ValueType::boolean));
    append_number(bytes_, static_cast<std::uint8_t>(value));
}

void GgufMetadata::text(std::string_view key, std::string_view value) {
    begin(key, std::to_underlying(ValueType::string));
    append_text(bytes_, value);
}

void GgufMetadata::texts(std::string_view key, std::span<const std::string> values) {
    begin(key, std::to_underlying(ValueType::array));
    append_number(bytes_, ValueType::string);
    append_number(bytes_, std::uint64_t{values.size()});
    for (const std::string& value : values) append_text(bytes_, value);
}

void GgufMetadata::integers(std::string_view key, std::span<const std::int32_t> values) {
    begin(key, std::to_underlying(ValueType::array));
    append_number(bytes_, ValueType::int32);
    append_number(bytes_, std::uint64_t{values.size()});
    for (const std::int32_t value : values) append_number(bytes_, value);
}

void GgufMetadata::copy(const GgufEntry& entry) {
    begin(entry.key, entry.type);
    if (entry.type == std::to_underlying(ValueType::array)) {
        append_number(bytes_, entry.element_type);
        append_number(bytes_, entry.count);
    }
    bytes_.append(reinterpret_cast<const char*>(entry.value.data()), entry.value.size());
}

std::size_t bytes_of(const GgufTensor& tensor) {
    std::size_t elements = 1;
    for (const std::uint64_t dimension : tensor.shape) elements *= dimension;
    return bytes_of(tensor.type, elements);
}

Result<GgufWriter> GgufWriter::create(const std::string& path, bool replace,
                                      const GgufMetadata& metadata,
                                      std::vector<GgufTensor> tensors) {
    GgufWriter writer(path, replace);
    const std::string header = header_bytes(metadata, tensors);
    writer.file_bytes_ = header.size();
    for (const GgufTensor& tensor : tensors)
        writer.file_bytes_ += bytes_of(tensor) + padding_after(bytes_of(tensor));
    writer.tensors_ = std::move(tensors);
    HF_TRY(writer.open());
    HF_TRY(writer.write(header));
    return writer;
}

GgufWriter::~GgufWriter() {
    if (fd_) ::unlink(partial_path_.c_str());
}

std::unexpected<base::Error> GgufWriter::failed(std::string_view what) const {
    return base::fail(Code::unavailable, "{}: cannot {}: {}", path_, what,
                      std::generic_category().message(errno));
}

Result<> GgufWriter::open() {
    std::error_code ignored;
    if (!replace_ && std::filesystem::exists(std::filesystem::symlink_status(path_, ignored)))
        return base::fail(Code::invalid, "{}: exists already", path_);
    base::SystemEntropy entropy;
    partial_path_ = fmt::format("{}.{}.partial", path_, base::random_hex(entropy, 4));
    fd_.reset(::open(partial_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
    if (!fd_) return failed("create a file beside it");
    // Better no room now than after an hour. Where the file system cannot reserve, writing tells.
    if (::fallocate(fd_.get(), 0, 0, static_cast<off_t>(file_bytes_)) != 0 && errno != EOPNOTSUPP &&
        errno != ENOSYS && errno != EINTR)
        return failed(fmt::format("reserve {} MiB", file_bytes_ >> 20));
    return {};
}

Result<> GgufWriter::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return failed("write");
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

Result<> GgufWriter::append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        HF_ASSERT(tensor_ < tensors_.size());
        const std::size_t size = bytes_of(tensors_[tensor_]);
        const auto part = bytes.first(std::min(bytes.size(), size - tensor_bytes_));
        HF_TRY(write({reinterpret_cast<const char*>(part.data()), part.size()}));
        bytes = bytes.subspan(part.size());
        tensor_bytes_ += part.size();
        if (tensor_bytes_ < size) continue;
        HF_TRY(write(std::string(padding_after(size), '\0')));
        ++tensor_;
        tensor_bytes_ = 0;
    }
    return {};
}

Result<> GgufWriter::sync() {
    HF_ASSERT(tensor_ == tensors_.size());
    if (::fsync(fd_.get()) != 0) return failed("write to the disk");
    return {};
}

Result<> GgufWriter::finish() {
    // Without replacing, a file that appeared meanwhile stays, where the file system can do that.
    const unsigned flags = replace_ ? 0 : RENAME_NOREPLACE;
    int renamed = ::renameat2(AT_FDCWD, partial_path_.c_str(), AT_FDCWD, path_.c_str(), flags);
    if (renamed != 0 && errno == EINVAL && flags != 0)
        renamed = std::rename(partial_path_.c_str(), path_.c_str());
    if (renamed != 0) return failed("give the finished file its name");
    fd_.reset();
    if (!sync_folder(path_)) return failed("write the folder to the disk");
    return {};
}

}  // namespace holdfast::tensor
