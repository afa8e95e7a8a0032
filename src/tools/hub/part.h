// A file that is being downloaded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace holdfast::hub {

inline constexpr std::uint64_t block_bytes = std::uint64_t{1} << 20;  // the last may be shorter

// The bytes lie in PATH.data, and PATH.blocks says which blocks of them are there and what their
// hashes are. A block is written before it is entered, and what is entered is compared with its
// hash when the file is opened again: after a crash, nothing is believed that is not on the disk.
// PATH must name the content, so that what belongs to another version is never taken up.
// One thread. Whoever has the files to itself: the repository's lock sees to that.
class Part {
public:
    // Takes up what is there. `stop` is asked now and then; true ends it as cancelled.
    [[nodiscard]] static base::Result<Part> open(const std::string& path, std::uint64_t size,
                                                 const std::function<bool()>& stop);

    std::uint64_t size() const { return size_; }
    std::uint64_t bytes_done() const { return bytes_done_; }
    bool complete() const { return bytes_done_ == size_; }
    bool has(std::uint64_t block) const { return states_[block] == State::done; }
    std::uint64_t blocks() const { return states_.size(); }
    // Where a block ends.
    std::uint64_t end_of(std::uint64_t block) const;

    // Blocks [begin, end), all missing and nobody's; they are the caller's then.
    struct Run {
        std::uint64_t begin = 0, end = 0;
    };
    std::optional<Run> claim(std::uint64_t blocks_max);
    // Gives back what is still missing of it.
    void release(Run run);

    // A block that is there already is left as it is. Errors: overloaded if there is no room for
    // it, else internal with the system's reason.
    [[nodiscard]] base::Result<> write(std::uint64_t block, std::span<const std::byte> bytes);

    std::string data_path() const { return path_ + ".data"; }
    // Removes both files.
    void remove() const;
    // Removes what says which blocks are there: of a file that is complete, moved and done with.
    void remove_journal() const;

private:
    enum class State : std::uint8_t { missing, claimed, done };
    Part(std::string path, std::uint64_t size);
    std::string journal_path() const { return path_ + ".blocks"; }
    base::Result<> recover(const std::function<bool()>& stop);
    void set_done(std::uint64_t block);

    std::string path_;
    std::uint64_t size_ = 0, bytes_done_ = 0;
    std::vector<State> states_;
};

// Writes all of it. Errors as in Part::write.
[[nodiscard]] base::Result<> write_at(int fd, const std::string& path,
                                      std::span<const std::byte> bytes, std::uint64_t offset);

}  // namespace holdfast::hub
