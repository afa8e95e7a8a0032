// Helpers of the room's tests.
#pragma once

#include <simdjson.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace holdfast::text {

inline const std::string golden_folder = HOLDFAST_SOURCE_DIR "/tests/golden/text";

inline std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

// A folder that is gone after the test.
class TemporaryFolder {
public:
    TemporaryFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "holdfast-XXXXXX").string();
        path_ = ::mkdtemp(pattern.data());
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder() { std::filesystem::remove_all(path_); }
    const std::string& path() const { return path_; }
    void write(const std::string& name, std::string_view content) const {
        std::ofstream(path_ + "/" + name, std::ios::binary) << content;
    }

private:
    std::string path_;
};

}  // namespace holdfast::text
