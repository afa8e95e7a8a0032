// What a hub says is in a repository.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "tools/hub/digest.h"

namespace holdfast::hub {

struct RemoteFile {
    std::string path;  // passes check_file_name
    std::uint64_t size = 0;
    Checksum checksum;
    friend bool operator==(const RemoteFile&, const RemoteFile&) = default;
};

inline constexpr std::size_t listed_files_max = 100'000;
inline constexpr std::uint64_t file_bytes_max = std::uint64_t{4} << 40;

// A page of GET /api/models/REPO/tree/COMMIT?recursive=true of Hugging Face, or the answer to
// GET /api/v1/models/REPO/repo/files of ModelScope, appended to `files`. Folders are left out.
// Errors: corrupt, for what is no such list, and for names and sizes that nobody should trust.
[[nodiscard]] base::Result<> parse_tree_page(std::string_view json, std::vector<RemoteFile>& files);
[[nodiscard]] base::Result<> parse_modelscope_files(std::string_view json,
                                                    std::vector<RemoteFile>& files);
// The commit in the answer to GET /api/models/REPO/revision/REVISION: 40 to 64 hexadecimal digits.
[[nodiscard]] base::Result<std::string> parse_commit(std::string_view json);

// Path and query of the next page in a Link field (RFC 8288), empty if there is none. The host is
// left out: mirrors pass on that of the hub behind them.
std::string next_page(std::string_view link);

// Whether `word` stands in `path` between other words, whatever the case: "q6_k" does in
// "x-Q6_K.gguf" and not in "x-Q6_K_L.gguf".
bool has_word(std::string_view path, std::string_view word);
std::string lower_case(std::string_view text);  // ASCII letters

// What serving needs. `file` empty, no `globs`: configuration, tokenizer, template and safetensors
// in the top folder. `globs`: the files that match one of them (fnmatch(3)). `file`: that one; or,
// if there is none of that name, the one GGUF file that has it as a whole word, or else as a part
// of its name, whatever the case; always with all parts of a split GGUF file. Errors name what
// could have been meant.
[[nodiscard]] base::Result<std::vector<RemoteFile>> select_files(
    const std::vector<RemoteFile>& files, const std::string& file,
    const std::vector<std::string>& globs);

}  // namespace holdfast::hub
