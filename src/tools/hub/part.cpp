#include "tools/hub/part.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "common/base/unique_fd.h"

namespace holdfast::hub {
namespace {

using base::Code;
using base::fail;

// One entry of the journal, as it lies on the disk of this machine.
struct Entry {
    std::uint64_t block = 0;
    base::Hash128 hash;
};
static_assert(sizeof(Entry) == 24);

base::Result<base::UniqueFd> open_file(const std::string& path, int flags) {
    base::UniqueFd file(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (file) return file;
    const bool is_full = errno == ENOSPC || errno == EDQUOT;
    return fail(is_full ? Code::overloaded : Code::internal, "cannot write {}: {}", path,
                std::strerror(errno));
}

std::uint64_t size_of(int fd) {
    struct stat info = {};
    return ::fstat(fd, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

bool read_at(int fd, std::span<std::byte> bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t count = ::pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
    return true;
}

}  // namespace

base::Result<> write_at(int fd, const std::string& path, std::span<const std::byte> bytes,
                        std::uint64_t offset) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            const bool is_full = count == 0 || errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
            return fail(is_full ? Code::overloaded : Code::internal, "cannot write {}: {}", path,
                        std::strerror(errno));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
    return {};
}

Part::Part(std::string path, std::uint64_t size)
    : path_(std::move(path)),
      size_(size),
      states_((size + block_bytes - 1) / block_bytes, State::missing) {}

base::Result<Part> Part::open(const std::string& path, std::uint64_t size,
                              const std::function<bool()>& stop) {
    Part part(path, size);
    HF_TRY(part.recover(stop));
    return part;
}

// A journal that was torn by a crash ends in a piece of an entry, which is cut off; entries that do
// not fit are passed over. Neither costs more than downloading some blocks again.
base::Result<> Part::recover(const std::function<bool()>& stop) {
    HF_TRY_ASSIGN(const auto data, open_file(data_path(), O_RDWR | O_CREAT));
    HF_TRY_ASSIGN(const auto journal, open_file(journal_path(), O_RDWR | O_CREAT));
    const auto whole = std::min(size_of(journal.get()) / sizeof(Entry), 4 * states_.size());
    std::vector<Entry> entries(whole);
    if (!read_at(journal.get(), std::as_writable_bytes(std::span(entries)), 0)) entries.clear();
    if (::ftruncate(journal.get(), static_cast<off_t>(entries.size() * sizeof(Entry))) != 0)
        return fail(Code::internal, "cannot write {}: {}", journal_path(), std::strerror(errno));

    std::map<std::uint64_t, base::Hash128> newest;
    for (const Entry& entry : entries)
        if (entry.block < states_.size()) newest[entry.block] = entry.hash;
    std::vector<std::byte> bytes(std::min(block_bytes, size_));
    for (const auto& [block, hash] : newest) {
        if (stop && stop()) return fail(Code::cancelled, "interrupted");
        const auto begin = block * block_bytes;
        const std::span content(bytes.data(), end_of(block) - begin);
        if (read_at(data.get(), content, begin) && base::hash128(content) == hash) set_done(block);
    }
    return {};
}

std::uint64_t Part::end_of(std::uint64_t block) const {
    return std::min(size_, (block + 1) * block_bytes);
}

void Part::set_done(std::uint64_t block) {
    if (states_[block] == State::done) return;
    states_[block] = State::done;
    bytes_done_ += end_of(block) - block * block_bytes;
}

std::optional<Part::Run> Part::claim(std::uint64_t blocks_max) {
    const auto first = std::ranges::find(states_, State::missing);
    if (first == states_.end()) return std::nullopt;
    const auto begin = static_cast<std::uint64_t>(first - states_.begin());
    Run run{begin, begin};
    while (run.end < states_.size() && run.end - run.begin < blocks_max &&
           states_[run.end] == State::missing)
        states_[run.end++] = State::claimed;
    return run;
}

void Part::release(Run run) {
    for (auto block = run.begin; block < run.end; ++block)
        if (states_[block] == State::claimed) states_[block] = State::missing;
}

base::Result<> Part::write(std::uint64_t block, std::span<const std::byte> bytes) {
    HF_ASSERT(bytes.size() == end_of(block) - block * block_bytes);
    if (has(block)) return {};
    HF_TRY_ASSIGN(const auto data, open_file(data_path(), O_WRONLY | O_CREAT));
    HF_TRY(write_at(data.get(), data_path(), bytes, block * block_bytes));
    HF_TRY_ASSIGN(const auto journal, open_file(journal_path(), O_WRONLY | O_CREAT));
    // Whole entries only: what a full disk has torn is written over.
    const Entry entry{.block = block, .hash = base::hash128(bytes)};
    const auto end = size_of(journal.get()) / sizeof(Entry) * sizeof(Entry);
    HF_TRY(write_at(journal.get(), journal_path(), std::as_bytes(std::span(&entry, 1)), end));
    set_done(block);
    return {};
}

void Part::remove() const {
    ::unlink(data_path().c_str());
    remove_journal();
}

void Part::remove_journal() const { ::unlink(journal_path().c_str()); }

}  // namespace holdfast::hub
