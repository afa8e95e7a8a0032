// A file, mapped read-only.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/base/error.h"

namespace holdfast::tensor {

// Owns the mapping; bytes() is valid as long as the object lives, also after a move. The file must
// not shrink while it is mapped. Any thread may read.
class FileMap {
public:
    // Regular files only. Errors: not_found when there is no such file, else invalid or
    // unavailable with the system's reason.
    [[nodiscard]] static base::Result<FileMap> open(const std::string& path);

    FileMap(FileMap&& other) noexcept;
    FileMap& operator=(FileMap&& other) noexcept;
    ~FileMap();

    std::span<const std::byte> bytes() const { return bytes_; }

private:
    explicit FileMap(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::span<const std::byte> bytes_;
};

// madvise(2) for the pages that hold `bytes`. Only advice: whether it helped is not told.
void advise(std::span<const std::byte> bytes, int advice);

// An error for what `git clone` leaves in the place of a file where Git LFS is not installed, which
// the others refuse too, and for what cannot be opened.
[[nodiscard]] base::Result<> check_no_lfs_pointer(const std::string& path);

// The whole of a small text file. Errors as above, and invalid above `bytes_max`.
[[nodiscard]] base::Result<std::string> read_text(const std::string& path, std::size_t bytes_max);

}  // namespace holdfast::tensor
