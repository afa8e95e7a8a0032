#include "inference/text/json_file.h"

#include <filesystem>

#include "inference/tensor/file_map.h"

namespace holdfast::text {

using base::Code;
using base::Result;

Result<std::uintmax_t> checked_file_size(const std::string& path, std::uintmax_t bytes_max) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error == std::errc::no_such_file_or_directory || error == std::errc::not_a_directory)
        return base::fail(Code::not_found, "{}: there is no such file", path);
    if (error) return base::fail(Code::corrupt, "{}: cannot be read: {}", path, error.message());
    if (size > bytes_max)
        return base::fail(Code::corrupt, "{}: {} bytes exceed the limit of {}", path, size,
                          bytes_max);
    return size;
}

Result<> JsonFile::open(const std::string& path, std::uintmax_t bytes_max) {
    HF_TRY(checked_file_size(path, bytes_max));
    HF_TRY(tensor::check_no_lfs_pointer(path));
    simdjson::dom::element root;
    if (const auto error = parser_.load(path).get(root))
        return base::fail(Code::corrupt, "{}: is not sound JSON: {}", path,
                          simdjson::error_message(error));
    root_.where_ = path;
    root_.at_root_ = root_.present_ = true;
    root_.value_ = root;
    return {};
}

JsonField JsonField::operator[](std::string_view key) const {
    JsonField field;
    field.where_ = fmt::format("{}{}{}", where_, at_root_ ? ": " : ".", key);
    field.present_ =
        present_ && value_.is_object() && !value_[key].get(field.value_) && !field.value_.is_null();
    return field;
}

JsonField JsonField::element(std::size_t index, simdjson::dom::element value) const {
    JsonField field;
    field.where_ = fmt::format("{}[{}]", where_, index);
    field.present_ = !value.is_null();
    field.value_ = value;
    return field;
}

template <class T>
Result<T> JsonField::get(std::string_view type) const {
    T value;
    if (!present_) return fail(Code::corrupt, "is missing; {} is expected", type);
    if (value_.get(value)) return fail(Code::corrupt, "is not {}", type);
    return value;
}

Result<bool> JsonField::boolean() const { return get<bool>("a boolean"); }
Result<bool> JsonField::boolean_or(bool absent) const {
    return present_ ? boolean() : Result<bool>(absent);
}
Result<std::int64_t> JsonField::integer() const { return get<std::int64_t>("an integer"); }
Result<std::string_view> JsonField::string() const { return get<std::string_view>("a string"); }
Result<simdjson::dom::array> JsonField::array() const {
    return get<simdjson::dom::array>("an array");
}
Result<simdjson::dom::object> JsonField::object() const {
    return get<simdjson::dom::object>("an object");
}

Result<std::vector<JsonField>> JsonField::elements() const {
    HF_TRY_ASSIGN(const auto values, array());
    std::vector<JsonField> fields;
    for (const simdjson::dom::element value : values)
        fields.push_back(element(fields.size(), value));
    return fields;
}

}  // namespace holdfast::text
