// JSON files of a model's folder, read so that every complaint names file, field and reason.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace holdfast::text {

// A value in a JSON file, knowing its way from the root. Lives as long as the JsonFile. An absent
// member is a field too: reading it fails, asking whether it is there does not.
class JsonField {
public:
    // The member `key`. Absent in what is not an object, too.
    JsonField operator[](std::string_view key) const;
    // An element of this array, for complaints to name.
    JsonField element(std::size_t index, simdjson::dom::element value) const;

    bool present() const { return present_; }  // neither absent nor null
    const std::string& where() const { return where_; }
    bool is_object() const { return present_ && value_.is_object(); }
    bool is_array() const { return present_ && value_.is_array(); }

    base::Result<bool> boolean() const;
    base::Result<bool> boolean_or(bool absent) const;
    base::Result<std::int64_t> integer() const;
    base::Result<std::string_view> string() const;
    base::Result<simdjson::dom::array> array() const;
    base::Result<simdjson::dom::object> object() const;
    base::Result<std::vector<JsonField>> elements() const;

    // The error that names this field.
    template <class... Args>
    [[nodiscard]] std::unexpected<base::Error> fail(base::Code code,
                                                    fmt::format_string<Args...> format,
                                                    Args&&... args) const {
        return base::fail(code, "{}: {}", where_, fmt::format(format, std::forward<Args>(args)...));
    }

private:
    friend class JsonFile;
    template <class T>
    base::Result<T> get(std::string_view type) const;

    std::string where_;  // file and path of members
    bool at_root_ = false;
    bool present_ = false;
    simdjson::dom::element value_;
};

// Not movable, as its fields point into it. One thread.
class JsonFile {
public:
    JsonFile() = default;
    JsonFile(const JsonFile&) = delete;
    JsonFile& operator=(const JsonFile&) = delete;

    // Reads all of `path`, a regular file of at most `bytes_max` bytes. not_found if it is missing.
    base::Result<> open(const std::string& path, std::uintmax_t bytes_max);
    const JsonField& root() const { return root_; }

private:
    simdjson::dom::parser parser_;
    JsonField root_;
};

// Size in bytes of the regular file `path`, checked against `bytes_max`. not_found if missing.
base::Result<std::uintmax_t> checked_file_size(const std::string& path, std::uintmax_t bytes_max);

}  // namespace holdfast::text
