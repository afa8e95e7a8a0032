#include "inference/tensor/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/base/unique_fd.h"

namespace holdfast::tensor {
namespace {

using base::Code;

struct OpenFile {
    base::UniqueFd fd;
    std::size_t size_bytes = 0;
};

std::string system_reason() { return std::generic_category().message(errno); }

// What `git clone` leaves in the place of a large file where Git LFS is not installed.
base::Result<> refuse_lfs_pointer(const OpenFile& file, const std::string& path) {
    constexpr std::string_view beginning = "version https://git-lfs.github.com/spec/";
    constexpr std::size_t pointer_bytes_max = 1'024;  // by its specification
    std::array<char, beginning.size()> text{};
    if (file.size_bytes > pointer_bytes_max ||
        ::pread(file.fd.get(), text.data(), text.size(), 0) != std::ssize(text) ||
        std::string_view(text.data(), text.size()) != beginning)
        return {};
    return base::fail(Code::invalid,
                      "{}: is a Git LFS pointer and not the file itself\n  next: run `git lfs "
                      "pull` in its folder, or get the model with `holdfast pull`",
                      path);
}

base::Result<OpenFile> open_regular(const std::string& path) {
    // O_NONBLOCK keeps a FIFO that was put in the file's place from blocking the open.
    OpenFile file{base::UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))};
    if (!file.fd) {
        const bool missing = errno == ENOENT || errno == ENOTDIR;
        return base::fail(missing ? Code::not_found : Code::unavailable, "{}: {}", path,
                          system_reason());
    }
    struct stat status{};
    if (::fstat(file.fd.get(), &status) != 0)
        return base::fail(Code::unavailable, "{}: {}", path, system_reason());
    if (!S_ISREG(status.st_mode)) return base::fail(Code::invalid, "{}: not a regular file", path);
    file.size_bytes = static_cast<std::size_t>(status.st_size);
    HF_TRY(refuse_lfs_pointer(file, path));
    return file;
}

}  // namespace

base::Result<> check_no_lfs_pointer(const std::string& path) {
    HF_TRY(open_regular(path));
    return {};
}

base::Result<FileMap> FileMap::open(const std::string& path) {
    HF_TRY_ASSIGN(const OpenFile file, open_regular(path));
    if (file.size_bytes == 0) return FileMap({});
    void* const start = ::mmap(nullptr, file.size_bytes, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
    if (start == MAP_FAILED)
        return base::fail(Code::unavailable, "{}: cannot map {} bytes: {}", path, file.size_bytes,
                          system_reason());
    return FileMap({static_cast<const std::byte*>(start), file.size_bytes});
}

FileMap::FileMap(FileMap&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

FileMap& FileMap::operator=(FileMap&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
}

FileMap::~FileMap() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void advise(std::span<const std::byte> bytes, int advice) {
    const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t before = reinterpret_cast<std::uintptr_t>(bytes.data()) % page;
    std::byte* const begin = const_cast<std::byte*>(bytes.data()) - before;
    static_cast<void>(::madvise(begin, bytes.size() + before, advice));
}

base::Result<std::string> read_text(const std::string& path, std::size_t bytes_max) {
    HF_TRY_ASSIGN(const OpenFile file, open_regular(path));
    if (file.size_bytes > bytes_max)
        return base::fail(Code::invalid, "{}: {} bytes, at most {} are allowed", path,
                          file.size_bytes, bytes_max);
    std::string text(file.size_bytes, '\0');
    std::size_t filled = 0;
    while (filled < text.size()) {
        const ssize_t got = ::read(file.fd.get(), text.data() + filled, text.size() - filled);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return base::fail(Code::unavailable, "{}: {}", path, system_reason());
        if (got == 0) break;
        filled += static_cast<std::size_t>(got);
    }
    text.resize(filled);
    return text;
}

}  // namespace holdfast::tensor
