// Helpers of the room's tests.
#pragma once

#include <simdjson.h>

#include <fstream>
#include <string>
#include <string_view>

namespace holdfast::text {

inline const std::string golden_folder = HOLDFAST_SOURCE_DIR "/tests/golden/text";

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace holdfast::text
