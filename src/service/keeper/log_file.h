// The log of one child: a file that the child writes itself (append), so that neither waits for
// the other. The keeper rotates it and quotes its last line when the child dies.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/error.h"
#include "common/base/unique_fd.h"

namespace holdfast::keeper {

struct LogLimits {
    std::uint64_t bytes_max = 16 * 1024 * 1024;
    std::uint32_t files_kept = 2;  // NAME.log.1, NAME.log.2, ...
};

// Keeper's thread only. The disk may be full or gone at any time; then there are fewer logs.
class LogFile {
public:
    LogFile(std::string path, LogLimits limits) : path_(std::move(path)), limits_(limits) {}

    // Opens it for a new life of the child, rotated if it is too large.
    base::Result<base::UniqueFd> open();
    // Rotates the file of a running child if it is too large: copies it aside and cuts it. Lines
    // that are written in between are lost. Without room for the copy the content is dropped.
    void check();
    // The last line that was written in this life, short and printable; empty if there is none.
    // Indented lines belong to the one before them, which is given instead.
    std::string last_line() const;

private:
    void shift_kept() const;

    std::string path_;
    LogLimits limits_;
    std::uint64_t life_begins_ = 0;  // offset
};

}  // namespace holdfast::keeper
