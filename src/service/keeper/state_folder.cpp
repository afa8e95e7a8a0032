#include "service/keeper/state_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace holdfast::keeper {
namespace {

std::string read_pid(int file) {
    std::array<char, 16> text{};
    const ssize_t count = ::pread(file, text.data(), text.size() - 1, 0);
    std::string pid(text.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
    pid.resize(std::min(pid.find_first_not_of("0123456789"), pid.size()));
    return pid.empty() ? "unknown" : pid;
}

}  // namespace

base::Result<StateFolder> StateFolder::open(const std::string& path) {
    StateFolder folder;
    folder.path_ = path;
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
        folder.trouble_ = fmt::format("cannot make {}: {}", path, std::strerror(errno));
        return folder;
    }
    const std::string lock_path = path + "/keeper.lock";
    folder.lock_.reset(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!folder.lock_) {
        folder.trouble_ = fmt::format("cannot open {}: {}", lock_path, std::strerror(errno));
        return folder;
    }
    if (::flock(folder.lock_.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return base::fail(base::Code::unavailable,
                              "the state folder {} is in use by another service (process {}); stop "
                              "that one, or give this one its own folder with --state-dir",
                              path, read_pid(folder.lock_.get()));
        folder.trouble_ = fmt::format("cannot lock {}: {}", lock_path, std::strerror(errno));
        return folder;
    }
    const auto pid = fmt::format("{}\n", ::getpid());
    const bool written =
        ::ftruncate(folder.lock_.get(), 0) == 0 &&
        ::pwrite(folder.lock_.get(), pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
    if (!written)
        folder.trouble_ = fmt::format("cannot write {}: {}", lock_path, std::strerror(errno));
    if (::mkdir((path + "/logs").c_str(), 0700) != 0 && errno != EEXIST)
        folder.trouble_ = fmt::format("cannot make {}/logs: {}", path, std::strerror(errno));
    return folder;
}

bool StateFolder::is_full() const {
    struct statvfs info = {};
    return ::statvfs(path_.c_str(), &info) == 0 && info.f_blocks > 0 && info.f_bavail == 0;
}

}  // namespace holdfast::keeper
