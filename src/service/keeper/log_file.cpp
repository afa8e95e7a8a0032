#include "service/keeper/log_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace holdfast::keeper {
namespace {

std::uint64_t size_of(int file) {
    struct stat info = {};
    return ::fstat(file, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

bool copy_all(int from, int to) {
    std::uint64_t left = size_of(from);
    off_t offset = 0;
    while (left > 0) {
        const ssize_t moved = ::sendfile(to, from, &offset, std::min<std::uint64_t>(left, 1 << 20));
        if (moved <= 0) return false;
        left -= static_cast<std::uint64_t>(moved);
    }
    return true;
}

}  // namespace

// NAME.log.1 becomes NAME.log.2 and so on; the oldest goes.
void LogFile::shift_kept() const {
    const auto kept = [this](std::uint32_t number) { return fmt::format("{}.{}", path_, number); };
    for (std::uint32_t i = limits_.files_kept; i > 1; --i)
        std::rename(kept(i - 1).c_str(), kept(i).c_str());
}

base::Result<base::UniqueFd> LogFile::open() {
    constexpr int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    base::UniqueFd file(::open(path_.c_str(), flags, 0640));
    if (file && size_of(file.get()) > limits_.bytes_max) {
        shift_kept();
        if (limits_.files_kept > 0) {
            std::rename(path_.c_str(), fmt::format("{}.1", path_).c_str());
        } else {
            ::unlink(path_.c_str());
        }
        file.reset(::open(path_.c_str(), flags, 0640));
    }
    if (!file)
        return base::fail(base::Code::unavailable, "cannot open {}: {}", path_,
                          std::strerror(errno));
    life_begins_ = size_of(file.get());
    return file;
}

void LogFile::check() {
    const base::UniqueFd file(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!file || size_of(file.get()) <= limits_.bytes_max) return;
    if (limits_.files_kept > 0) {
        const auto aside = path_ + ".rotating";
        const base::UniqueFd copy(
            ::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
        if (copy && copy_all(file.get(), copy.get())) {
            shift_kept();
            std::rename(aside.c_str(), fmt::format("{}.1", path_).c_str());
        } else {
            ::unlink(aside.c_str());
        }
    }
    if (::ftruncate(file.get(), 0) == 0) life_begins_ = 0;
}

std::string LogFile::last_line() const {
    const base::UniqueFd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return {};
    std::array<char, 4096> end;
    const std::uint64_t size = size_of(file.get());
    const std::uint64_t from =
        std::max(size - std::min<std::uint64_t>(size, end.size()), life_begins_);
    const ssize_t count = ::pread(file.get(), end.data(), end.size(), static_cast<off_t>(from));
    if (count <= 0) return {};
    std::string_view text(end.data(), static_cast<std::size_t>(count));
    // An indented line goes on with what the line before says.
    std::string_view last;
    while (!text.empty() && (last.empty() || last.starts_with(' '))) {
        const auto end = text.find_last_not_of(" \t\r\n");
        if (end == text.npos) break;
        text = text.substr(0, end + 1);
        const auto begin = text.rfind('\n') + 1;  // npos + 1 is the beginning
        last = text.substr(begin);
        text = text.substr(0, begin);
    }
    if (last.empty()) return {};
    std::string line(last.substr(0, 300));
    for (char& c : line)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return line;
}

}  // namespace holdfast::keeper
