// What lies beside the files of a pulled model: where they come from, and what they are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tools/hub/listing.h"

namespace holdfast::hub {

struct Manifest {
    std::string repo, endpoint;
    std::string revision;        // as asked for; empty: the hub's default
    std::string commit;          // empty where the hub does not tell
    std::string file;            // the one that was asked for, or empty
    std::int64_t pulled_at = 0;  // seconds since 1970
    std::vector<RemoteFile> files;

    // What to give to --model, relative to the folder: the first part of a GGUF file that was asked
    // for by name, else empty.
    std::string served_file() const;
    std::uint64_t bytes() const;
};

inline constexpr const char* manifest_name = ".holdfast.json";

// Names the content of these files: equal files have equal ids. 16 hexadecimal digits.
std::string content_id(const std::vector<RemoteFile>& files);

// Errors: not_found, or corrupt for what nobody of us wrote.
[[nodiscard]] base::Result<Manifest> read_manifest(const std::string& folder);
// Replaces the old one at once, and is on the disk when this returns.
[[nodiscard]] base::Result<> write_manifest(const std::string& folder, const Manifest& manifest);
// Whether all files are in the folder with their sizes.
bool is_complete(const std::string& folder, const Manifest& manifest);

}  // namespace holdfast::hub
