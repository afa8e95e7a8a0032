// How a model at a hub is named, and which names of files are safe to write.
#pragma once

#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::hub {

// ORG/NAME[@REVISION][:FILE]
struct Reference {
    std::string repo;      // "ORG/NAME"
    std::string revision;  // a branch, tag or commit; empty: the hub's default
    std::string file;      // empty: what serving needs of the whole
    std::string text() const;
};

// The address of a model's page at a hub is understood as well. Errors say which part is wrong.
[[nodiscard]] base::Result<Reference> parse_reference(std::string_view written);

// What a server may name a file inside a folder: a relative path without "." and "..", backslashes
// and control characters, UTF-8 or not, of a length that file systems take, and none of our own
// names (".holdfast..."). Errors are one clause that fits behind the name.
[[nodiscard]] base::Result<> check_file_name(std::string_view path);

}  // namespace holdfast::hub
